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
INSERT INTO "broker_channels" VALUES(7,'news',1,1795528421031,'anyone',3);
INSERT INTO "broker_channels" VALUES(8,'unheard',1,1795528421038,'subscribers',0);
CREATE TABLE broker_dead_deliveries (
	id INTEGER NOT NULL, 
	queue_id INTEGER NOT NULL, 
	message_id INTEGER NOT NULL, 
	rank INTEGER NOT NULL, 
	size INTEGER NOT NULL, 
	attempts INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	failures TEXT, 
	died TEXT, 
	dead_at INTEGER NOT NULL, 
	reason TEXT NOT NULL, 
	CONSTRAINT pk_broker_dead_deliveries PRIMARY KEY (id)
);
INSERT INTO "broker_dead_deliveries" VALUES(26,11,24,5,8,1,1,'[{"at":1795528421295,"consumer":"root","reason":"unreadable"}]',NULL,1795528421295,'unreadable');
INSERT INTO "broker_dead_deliveries" VALUES(40,38,40,5,4,1,1,'[{"at":1795528421255,"consumer":"root","reason":"no use"}]',NULL,1795528421255,'no use');
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
	expires_at INTEGER, 
	failures TEXT, 
	died TEXT, 
	CONSTRAINT pk_broker_deliveries PRIMARY KEY (id)
);
INSERT INTO "broker_deliveries" VALUES(15,4,15,0,5,0,0,1795528421063,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(16,4,16,5,256,0,0,1795528421070,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(17,5,17,5,6,1,1,1795528421075,1795571621087,2,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(18,5,18,5,21,1,1,1795528421076,1953208421106,NULL,NULL,'[{"at":1795528421106,"consumer":"alice","reason":"nacked"}]',NULL);
INSERT INTO "broker_deliveries" VALUES(19,5,19,5,15,1,1,1795528421083,1795528421172,2,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(20,4,20,9,7,0,0,NULL,1953208421179,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(21,4,21,5,13,0,0,NULL,1795528421184,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(22,4,22,5,5,0,0,1795528421187,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(23,4,23,5,18,0,0,1795528421192,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(25,9,24,5,8,1,1,1795528421199,1795528451211,1,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(27,13,24,5,8,0,0,1795528421199,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(30,11,28,5,13,0,0,1795528421203,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(31,13,28,5,13,0,0,1795528421203,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(33,9,32,5,17,0,0,NULL,1953208421208,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(34,11,32,5,17,0,0,NULL,1953208421208,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(35,13,32,5,17,0,0,NULL,1953208421208,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(36,6,36,5,18,0,0,1795528421223,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "broker_deliveries" VALUES(41,37,41,5,12,0,1,1795528421267,NULL,NULL,NULL,'[{"at":1795528421267,"consumer":"root","reason":"no use"}]','{"queue":"feeding","reason":"1 attempts, the last: no use","at":1795528421267}');
INSERT INTO "broker_deliveries" VALUES(42,38,42,5,6,1,1,1795528421271,NULL,NULL,1881928421271,'[{"at":1795528421279,"consumer":"root","reason":"no use"}]',NULL);
INSERT INTO "broker_deliveries" VALUES(43,38,43,5,16,0,0,1795528421285,NULL,NULL,1881928421285,NULL,NULL);
CREATE TABLE broker_keys (
	target_id INTEGER NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	message_id INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	count INTEGER NOT NULL, 
	CONSTRAINT pk_broker_keys PRIMARY KEY (target_id, "key")
);
INSERT INTO "broker_keys" VALUES(4,'once',22,1953208421187,1);
INSERT INTO "broker_keys" VALUES(7,'once',24,1953208421199,1);
CREATE TABLE broker_messages (
	id INTEGER NOT NULL, 
	sender VARCHAR(128) NOT NULL, 
	sent_at INTEGER NOT NULL, 
	content_type VARCHAR(255), 
	headers TEXT, 
	body BLOB NOT NULL, 
	CONSTRAINT pk_broker_messages PRIMARY KEY (id)
);
INSERT INTO "broker_messages" VALUES(15,'alice',1795528421063,'a/b','{"n":"välue"}',X'7265616479');
INSERT INTO "broker_messages" VALUES(16,'alice',1795528421070,NULL,NULL,X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF');
INSERT INTO "broker_messages" VALUES(17,'alice',1795528421075,NULL,NULL,X'6C6561736564');
INSERT INTO "broker_messages" VALUES(18,'alice',1795528421076,NULL,NULL,X'6C656173656420616E6420676976656E206261636B');
INSERT INTO "broker_messages" VALUES(19,'alice',1795528421083,NULL,NULL,X'6C656173652068617320656E646564');
INSERT INTO "broker_messages" VALUES(20,'root',1795528421179,NULL,NULL,X'64656C61796564');
INSERT INTO "broker_messages" VALUES(21,'root',1795528421183,NULL,NULL,X'64656C6179206973206F766572');
INSERT INTO "broker_messages" VALUES(22,'root',1795528421187,NULL,NULL,X'6B65796564');
INSERT INTO "broker_messages" VALUES(23,'root',1795528421192,NULL,NULL,X'6B6579656420666F722061206D6F6D656E74');
INSERT INTO "broker_messages" VALUES(24,'root',1795528421199,NULL,NULL,X'746F207468726565');
INSERT INTO "broker_messages" VALUES(28,'root',1795528421203,NULL,NULL,X'746F2074776F206279206E6F77');
INSERT INTO "broker_messages" VALUES(32,'root',1795528421208,NULL,NULL,X'64656C6179656420666F72207468726565');
INSERT INTO "broker_messages" VALUES(36,'root',1795528421223,NULL,NULL,X'6F6620612064656C65746564207175657565');
INSERT INTO "broker_messages" VALUES(40,'root',1795528421247,NULL,NULL,X'64656164');
INSERT INTO "broker_messages" VALUES(41,'root',1795528421257,NULL,NULL,X'696E20697473206772617665');
INSERT INTO "broker_messages" VALUES(42,'root',1795528421271,NULL,NULL,X'6661696C6564');
INSERT INTO "broker_messages" VALUES(43,'root',1795528421285,NULL,NULL,X'6578706972657320736F6D6520646179');
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
	dropped INTEGER NOT NULL, 
	sends_paused BOOLEAN NOT NULL, 
	pulls_paused BOOLEAN NOT NULL, 
	max_attempts INTEGER NOT NULL, 
	dead_letter VARCHAR(128), 
	backoff VARCHAR(64), 
	ttl INTEGER NOT NULL, 
	on_expire VARCHAR(16) NOT NULL, 
	max_messages INTEGER NOT NULL, 
	max_bytes INTEGER NOT NULL, 
	on_full VARCHAR(16) NOT NULL, 
	expire_idle INTEGER NOT NULL, 
	idle_at INTEGER, 
	is_limited BOOLEAN NOT NULL, 
	CONSTRAINT pk_broker_queues PRIMARY KEY (id), 
	CONSTRAINT uq_broker_queues_name UNIQUE (name), 
	CONSTRAINT fk_broker_queues_owner_id FOREIGN KEY(owner_id) REFERENCES broker_users (id), 
	CONSTRAINT fk_broker_queues_channel_id FOREIGN KEY(channel_id) REFERENCES broker_channels (id)
);
INSERT INTO "broker_queues" VALUES(4,'jobs',1,NULL,1795528421012,4,2,0,0,304,0,0,0,5,NULL,NULL,0,'drop',0,0,'reject',0,NULL,0);
INSERT INTO "broker_queues" VALUES(5,'other',1,NULL,1795528421018,0,1,2,0,42,0,0,0,5,NULL,NULL,0,'drop',0,0,'reject',0,NULL,0);
INSERT INTO "broker_queues" VALUES(9,'news@root',1,7,1795528421040,0,1,1,0,25,0,0,0,5,NULL,NULL,0,'drop',0,0,'reject',0,NULL,0);
INSERT INTO "broker_queues" VALUES(11,'news@alice',2,7,1795528421048,1,1,0,1,38,0,0,0,5,NULL,NULL,0,'drop',0,1048576,'reject',259200000000,2054728421303,1);
INSERT INTO "broker_queues" VALUES(13,'news@alice@second',2,7,1795528421059,2,1,0,0,38,0,0,0,5,NULL,NULL,0,'drop',0,0,'reject',0,NULL,0);
INSERT INTO "broker_queues" VALUES(37,'graves',1,NULL,1795528421226,1,0,0,0,12,0,1,1,5,NULL,NULL,0,'drop',0,0,'reject',0,NULL,1);
INSERT INTO "broker_queues" VALUES(38,'limited',1,NULL,1795528421233,2,0,0,1,26,0,0,0,5,NULL,'1s,2,1m',86400000000,'dead',5,0,'reject',0,NULL,1);
INSERT INTO "broker_queues" VALUES(39,'feeding',1,NULL,1795528421243,0,0,0,0,0,0,0,0,1,'graves',NULL,0,'drop',0,0,'reject',0,NULL,0);
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
INSERT INTO "broker_sequences" VALUES('id',43);
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
INSERT INTO "broker_subscriptions" VALUES(10,7,1,'',9,1795528421040);
INSERT INTO "broker_subscriptions" VALUES(12,7,2,'',11,1795528421048);
INSERT INTO "broker_subscriptions" VALUES(14,7,2,'second',13,1795528421059);
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
INSERT INTO "broker_users" VALUES(1,'root',NULL,0,1,1795528420995);
INSERT INTO "broker_users" VALUES(2,'alice','$2b$12$BlD.zTlr5xav18BNGgpCsuvkSlpErc6IWXmDTyVyHxnFYYH7Aqi4q',NULL,0,1795528420995);
INSERT INTO "broker_users" VALUES(3,'bob',NULL,54321,0,1795528421009);
CREATE TABLE broker_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT broker_version_pkc PRIMARY KEY (version_num));
INSERT INTO "broker_version" VALUES('0002');
CREATE INDEX ix_broker_deliveries_leased ON broker_deliveries (queue_id, due_at) WHERE leased_by IS NOT NULL;
CREATE INDEX ix_broker_deliveries_ready ON broker_deliveries (queue_id, rank, id, expires_at) WHERE due_at IS NULL;
CREATE INDEX ix_broker_deliveries_delayed ON broker_deliveries (queue_id, due_at) WHERE due_at IS NOT NULL AND leased_by IS NULL;
CREATE INDEX ix_broker_deliveries_expiring ON broker_deliveries (expires_at) WHERE expires_at IS NOT NULL AND leased_by IS NULL;
CREATE INDEX ix_broker_dead_deliveries_queue_id_id ON broker_dead_deliveries (queue_id, id);
CREATE INDEX ix_broker_keys_expires_at ON broker_keys (expires_at);
CREATE INDEX ix_broker_channels_owner_id ON broker_channels (owner_id);
CREATE INDEX ix_broker_queues_channel ON broker_queues (channel_id, is_limited) WHERE channel_id IS NOT NULL;
CREATE INDEX ix_broker_queues_idle_at ON broker_queues (idle_at) WHERE idle_at IS NOT NULL;
CREATE INDEX ix_broker_queues_owner_id ON broker_queues (owner_id);
CREATE INDEX ix_broker_queues_dead_letter ON broker_queues (dead_letter) WHERE dead_letter IS NOT NULL;
CREATE INDEX ix_broker_subscriptions_user_id ON broker_subscriptions (user_id);
COMMIT;
