BEGIN TRANSACTION;
CREATE TABLE broker_channels (
	id INTEGER NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	owner_id INTEGER NOT NULL, 
	created_at INTEGER NOT NULL, 
	publish VARCHAR(16) NOT NULL, 
	subscriptions INTEGER NOT NULL, 
	CONSTRAINT pk_broker_channels PRIMARY KEY (id), 
	CONSTRAINT uq_broker_channels_name UNIQUE (name), 
	CONSTRAINT fk_broker_channels_owner_id FOREIGN KEY(owner_id) REFERENCES broker_users (id)
);
INSERT INTO "broker_channels" VALUES(7,'news',1,1795528257587,'anyone',3);
INSERT INTO "broker_channels" VALUES(8,'unheard',1,1795528257595,'subscribers',0);
CREATE TABLE broker_deliveries (
	id INTEGER NOT NULL, 
	queue_id INTEGER NOT NULL, 
	message_id INTEGER NOT NULL, 
	rank INTEGER NOT NULL, 
	size INTEGER NOT NULL, 
	attempts INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	ready_at INTEGER, 
	due_at INTEGER, 
	leased_by INTEGER, 
	CONSTRAINT pk_broker_deliveries PRIMARY KEY (id)
);
INSERT INTO "broker_deliveries" VALUES(15,4,15,0,5,0,0,1795528257639,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(16,4,16,5,256,0,0,1795528257647,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(17,5,17,5,6,1,1,1795528257652,1795571457663,2);
INSERT INTO "broker_deliveries" VALUES(18,5,18,5,21,1,1,1795528257655,1953208257679,NULL);
INSERT INTO "broker_deliveries" VALUES(19,5,19,5,15,1,1,1795528257660,1795528257688,2);
INSERT INTO "broker_deliveries" VALUES(20,4,20,9,7,0,0,NULL,1953208257689,NULL);
INSERT INTO "broker_deliveries" VALUES(21,4,21,5,13,0,0,NULL,1795528257693,NULL);
INSERT INTO "broker_deliveries" VALUES(22,4,22,5,5,0,0,1795528257695,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(23,4,23,5,18,0,0,1795528257702,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(25,9,24,5,8,1,1,1795528257708,1795528287724,1);
INSERT INTO "broker_deliveries" VALUES(26,11,24,5,8,0,0,1795528257708,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(27,13,24,5,8,0,0,1795528257708,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(30,11,28,5,13,0,0,1795528257716,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(31,13,28,5,13,0,0,1795528257716,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(33,9,32,5,17,0,0,NULL,1953208257720,NULL);
INSERT INTO "broker_deliveries" VALUES(34,11,32,5,17,0,0,NULL,1953208257720,NULL);
INSERT INTO "broker_deliveries" VALUES(35,13,32,5,17,0,0,NULL,1953208257720,NULL);
INSERT INTO "broker_deliveries" VALUES(36,6,36,5,18,0,0,1795528257732,NULL,NULL);
CREATE TABLE broker_keys (
	target_id INTEGER NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	message_id INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	CONSTRAINT pk_broker_keys PRIMARY KEY (target_id, "key")
);
INSERT INTO "broker_keys" VALUES(4,'once',22,1953208257695);
INSERT INTO "broker_keys" VALUES(7,'once',24,1953208257708);
CREATE TABLE broker_messages (
	id INTEGER NOT NULL, 
	sender VARCHAR(128) NOT NULL, 
	sent_at INTEGER NOT NULL, 
	content_type VARCHAR(255), 
	headers TEXT, 
	body BLOB NOT NULL, 
	CONSTRAINT pk_broker_messages PRIMARY KEY (id)
);
INSERT INTO "broker_messages" VALUES(15,'alice',1795528257639,'a/b','{"n":"välue"}',X'7265616479');
INSERT INTO "broker_messages" VALUES(16,'alice',1795528257647,NULL,NULL,X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF');
INSERT INTO "broker_messages" VALUES(17,'alice',1795528257652,NULL,NULL,X'6C6561736564');
INSERT INTO "broker_messages" VALUES(18,'alice',1795528257655,NULL,NULL,X'6C656173656420616E6420676976656E206261636B');
INSERT INTO "broker_messages" VALUES(19,'alice',1795528257660,NULL,NULL,X'6C656173652068617320656E646564');
INSERT INTO "broker_messages" VALUES(20,'root',1795528257689,NULL,NULL,X'64656C61796564');
INSERT INTO "broker_messages" VALUES(21,'root',1795528257692,NULL,NULL,X'64656C6179206973206F766572');
INSERT INTO "broker_messages" VALUES(22,'root',1795528257695,NULL,NULL,X'6B65796564');
INSERT INTO "broker_messages" VALUES(23,'root',1795528257702,NULL,NULL,X'6B6579656420666F722061206D6F6D656E74');
INSERT INTO "broker_messages" VALUES(24,'root',1795528257708,NULL,NULL,X'746F207468726565');
INSERT INTO "broker_messages" VALUES(28,'root',1795528257716,NULL,NULL,X'746F2074776F206279206E6F77');
INSERT INTO "broker_messages" VALUES(32,'root',1795528257720,NULL,NULL,X'64656C6179656420666F72207468726565');
INSERT INTO "broker_messages" VALUES(36,'root',1795528257732,NULL,NULL,X'6F6620612064656C65746564207175657565');
CREATE TABLE broker_publications (
	message_id INTEGER NOT NULL, 
	copies INTEGER NOT NULL, 
	remaining INTEGER NOT NULL, 
	CONSTRAINT pk_broker_publications PRIMARY KEY (message_id)
);
INSERT INTO "broker_publications" VALUES(24,3,3);
INSERT INTO "broker_publications" VALUES(28,3,2);
INSERT INTO "broker_publications" VALUES(32,3,3);
CREATE TABLE broker_queues (
	id INTEGER NOT NULL, 
	name VARCHAR(386) NOT NULL, 
	owner_id INTEGER NOT NULL, 
	channel_id INTEGER, 
	created_at INTEGER NOT NULL, 
	ready INTEGER NOT NULL, 
	delayed INTEGER NOT NULL, 
	leased INTEGER NOT NULL, 
	dead INTEGER NOT NULL, 
	bytes INTEGER NOT NULL, 
	CONSTRAINT pk_broker_queues PRIMARY KEY (id), 
	CONSTRAINT uq_broker_queues_name UNIQUE (name), 
	CONSTRAINT fk_broker_queues_owner_id FOREIGN KEY(owner_id) REFERENCES broker_users (id), 
	CONSTRAINT fk_broker_queues_channel_id FOREIGN KEY(channel_id) REFERENCES broker_channels (id)
);
INSERT INTO "broker_queues" VALUES(4,'jobs',1,NULL,1795528257572,4,2,0,0,304);
INSERT INTO "broker_queues" VALUES(5,'other',1,NULL,1795528257581,0,1,2,0,42);
INSERT INTO "broker_queues" VALUES(9,'news@root',1,7,1795528257599,0,1,1,0,25);
INSERT INTO "broker_queues" VALUES(11,'news@alice',2,7,1795528257609,2,1,0,0,38);
INSERT INTO "broker_queues" VALUES(13,'news@alice@second',2,7,1795528257631,2,1,0,0,38);
CREATE TABLE broker_removals (
	queue_id INTEGER NOT NULL, 
	CONSTRAINT pk_broker_removals PRIMARY KEY (queue_id)
);
INSERT INTO "broker_removals" VALUES(6);
CREATE TABLE broker_sequences (
	name VARCHAR(32) NOT NULL, 
	value INTEGER NOT NULL, 
	CONSTRAINT pk_broker_sequences PRIMARY KEY (name)
);
INSERT INTO "broker_sequences" VALUES('id',36);
CREATE TABLE broker_subscriptions (
	id INTEGER NOT NULL, 
	channel_id INTEGER NOT NULL, 
	user_id INTEGER NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	queue_id INTEGER NOT NULL, 
	created_at INTEGER NOT NULL, 
	CONSTRAINT pk_broker_subscriptions PRIMARY KEY (id), 
	CONSTRAINT uq_broker_subscriptions_channel_id_user_id_name UNIQUE (channel_id, user_id, name), 
	CONSTRAINT fk_broker_subscriptions_channel_id FOREIGN KEY(channel_id) REFERENCES broker_channels (id), 
	CONSTRAINT fk_broker_subscriptions_user_id FOREIGN KEY(user_id) REFERENCES broker_users (id), 
	CONSTRAINT uq_broker_subscriptions_queue_id UNIQUE (queue_id), 
	CONSTRAINT fk_broker_subscriptions_queue_id FOREIGN KEY(queue_id) REFERENCES broker_queues (id)
);
INSERT INTO "broker_subscriptions" VALUES(10,7,1,'',9,1795528257599);
INSERT INTO "broker_subscriptions" VALUES(12,7,2,'',11,1795528257609);
INSERT INTO "broker_subscriptions" VALUES(14,7,2,'second',13,1795528257631);
CREATE TABLE broker_users (
	id INTEGER NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	password_hash VARCHAR(72), 
	uid INTEGER, 
	is_admin BOOLEAN NOT NULL, 
	created_at INTEGER NOT NULL, 
	CONSTRAINT pk_broker_users PRIMARY KEY (id), 
	CONSTRAINT uq_broker_users_name UNIQUE (name), 
	CONSTRAINT uq_broker_users_uid UNIQUE (uid)
);
INSERT INTO "broker_users" VALUES(1,'root',NULL,0,1,1795528257531);
INSERT INTO "broker_users" VALUES(2,'alice','$2b$12$OOMi1Kd7yv/XYV65QkjiM.3xC/fPstBJyHdKaQDGQt3idzr/sFRWm',NULL,0,1795528257531);
INSERT INTO "broker_users" VALUES(3,'bob',NULL,54321,0,1795528257563);
CREATE TABLE broker_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT broker_version_pkc PRIMARY KEY (version_num));
INSERT INTO "broker_version" VALUES('0001');
CREATE INDEX ix_broker_deliveries_ready ON broker_deliveries (queue_id, rank, id) WHERE due_at IS NULL;
CREATE INDEX ix_broker_deliveries_due ON broker_deliveries (queue_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX ix_broker_keys_expires_at ON broker_keys (expires_at);
CREATE INDEX ix_broker_channels_owner_id ON broker_channels (owner_id);
CREATE INDEX ix_broker_queues_owner_id ON broker_queues (owner_id);
CREATE INDEX ix_broker_queues_channel_id ON broker_queues (channel_id) WHERE channel_id IS NOT NULL;
CREATE INDEX ix_broker_subscriptions_user_id ON broker_subscriptions (user_id);
COMMIT;
