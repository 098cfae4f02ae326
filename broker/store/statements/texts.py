"""The statements of broker.store.core. Made by scripts/make-statements; do not edit."""

from .statement import Bulk, ByIds, Statement

SCHEMA = (
    'CREATE TABLE broker_dead_deliveries (\n\tid INTEGER NOT NULL, \n\tqueue_id INTEGER NOT NULL, \n\tmessage_id INTEGER NOT NULL, \n\trank INTEGER NOT NULL, \n\tsize INTEGER NOT NULL, \n\tattempts INTEGER NOT NULL, \n\tgeneration INTEGER NOT NULL, \n\tfailures TEXT, \n\tdied TEXT, \n\tdead_at INTEGER NOT NULL, \n\treason TEXT NOT NULL, \n\tCONSTRAINT pk_broker_dead_deliveries PRIMARY KEY (id)\n)',
    'CREATE INDEX ix_broker_dead_deliveries_queue_id_id ON broker_dead_deliveries (queue_id, id)',
    'CREATE TABLE broker_deliveries (\n\tid INTEGER NOT NULL, \n\tqueue_id INTEGER NOT NULL, \n\tmessage_id INTEGER NOT NULL, \n\trank INTEGER NOT NULL, \n\tsize INTEGER NOT NULL, \n\tattempts INTEGER NOT NULL, \n\tgeneration INTEGER NOT NULL, \n\tready_at INTEGER, \n\tdue_at INTEGER, \n\tleased_by INTEGER, \n\texpires_at INTEGER, \n\tfailures TEXT, \n\tdied TEXT, \n\tCONSTRAINT pk_broker_deliveries PRIMARY KEY (id)\n)',
    'CREATE INDEX ix_broker_deliveries_delayed ON broker_deliveries (queue_id, due_at) WHERE due_at IS NOT NULL AND leased_by IS NULL',
    'CREATE INDEX ix_broker_deliveries_expiring ON broker_deliveries (expires_at) WHERE expires_at IS NOT NULL AND leased_by IS NULL',
    'CREATE INDEX ix_broker_deliveries_leased ON broker_deliveries (queue_id, due_at) WHERE leased_by IS NOT NULL',
    'CREATE INDEX ix_broker_deliveries_ready ON broker_deliveries (queue_id, rank, id, expires_at) WHERE due_at IS NULL',
    'CREATE TABLE broker_keys (\n\ttarget_id INTEGER NOT NULL, \n\t"key" VARCHAR(255) NOT NULL, \n\tmessage_id INTEGER NOT NULL, \n\texpires_at INTEGER NOT NULL, \n\tcount INTEGER NOT NULL, \n\tCONSTRAINT pk_broker_keys PRIMARY KEY (target_id, "key")\n)',
    'CREATE INDEX ix_broker_keys_expires_at ON broker_keys (expires_at)',
    'CREATE TABLE broker_messages (\n\tid INTEGER NOT NULL, \n\tsender VARCHAR(128) NOT NULL, \n\tsent_at INTEGER NOT NULL, \n\tcontent_type VARCHAR(255), \n\theaders TEXT, \n\tbody BLOB NOT NULL, \n\tCONSTRAINT pk_broker_messages PRIMARY KEY (id)\n)',
    'CREATE TABLE broker_publications (\n\tmessage_id INTEGER NOT NULL, \n\tcopies INTEGER NOT NULL, \n\tremaining INTEGER NOT NULL, \n\tCONSTRAINT pk_broker_publications PRIMARY KEY (message_id)\n)',
    'CREATE TABLE broker_removals (\n\tqueue_id INTEGER NOT NULL, \n\tCONSTRAINT pk_broker_removals PRIMARY KEY (queue_id)\n)',
    'CREATE TABLE broker_sequences (\n\tname VARCHAR(32) NOT NULL, \n\tvalue INTEGER NOT NULL, \n\tCONSTRAINT pk_broker_sequences PRIMARY KEY (name)\n)',
    'CREATE TABLE broker_users (\n\tid INTEGER NOT NULL, \n\tname VARCHAR(128) NOT NULL, \n\tpassword_hash VARCHAR(72), \n\tuid INTEGER, \n\tis_admin BOOLEAN NOT NULL, \n\tcreated_at INTEGER NOT NULL, \n\tCONSTRAINT pk_broker_users PRIMARY KEY (id), \n\tCONSTRAINT uq_broker_users_name UNIQUE (name), \n\tCONSTRAINT uq_broker_users_uid UNIQUE (uid)\n)',
    'CREATE TABLE broker_channels (\n\tid INTEGER NOT NULL, \n\tname VARCHAR(128) NOT NULL, \n\towner_id INTEGER NOT NULL, \n\tcreated_at INTEGER NOT NULL, \n\tpublish VARCHAR(16) NOT NULL, \n\tsubscriptions INTEGER NOT NULL, \n\tCONSTRAINT pk_broker_channels PRIMARY KEY (id), \n\tCONSTRAINT uq_broker_channels_name UNIQUE (name), \n\tCONSTRAINT fk_broker_channels_owner_id FOREIGN KEY(owner_id) REFERENCES broker_users (id)\n)',
    'CREATE INDEX ix_broker_channels_owner_id ON broker_channels (owner_id)',
    'CREATE TABLE broker_queues (\n\tid INTEGER NOT NULL, \n\tname VARCHAR(386) NOT NULL, \n\towner_id INTEGER NOT NULL, \n\tchannel_id INTEGER, \n\tcreated_at INTEGER NOT NULL, \n\tready INTEGER NOT NULL, \n\tdelayed INTEGER NOT NULL, \n\tleased INTEGER NOT NULL, \n\tdead INTEGER NOT NULL, \n\tbytes INTEGER NOT NULL, \n\tdropped INTEGER NOT NULL, \n\tsends_paused BOOLEAN NOT NULL, \n\tpulls_paused BOOLEAN NOT NULL, \n\tmax_attempts INTEGER NOT NULL, \n\tdead_letter VARCHAR(128), \n\tbackoff VARCHAR(64), \n\tttl INTEGER NOT NULL, \n\ton_expire VARCHAR(16) NOT NULL, \n\tmax_messages INTEGER NOT NULL, \n\tmax_bytes INTEGER NOT NULL, \n\ton_full VARCHAR(16) NOT NULL, \n\texpire_idle INTEGER NOT NULL, \n\tidle_at INTEGER, \n\tis_limited BOOLEAN NOT NULL, \n\tCONSTRAINT pk_broker_queues PRIMARY KEY (id), \n\tCONSTRAINT uq_broker_queues_name UNIQUE (name), \n\tCONSTRAINT fk_broker_queues_owner_id FOREIGN KEY(owner_id) REFERENCES broker_users (id), \n\tCONSTRAINT fk_broker_queues_channel_id FOREIGN KEY(channel_id) REFERENCES broker_channels (id)\n)',
    'CREATE INDEX ix_broker_queues_channel ON broker_queues (channel_id, is_limited) WHERE channel_id IS NOT NULL',
    'CREATE INDEX ix_broker_queues_dead_letter ON broker_queues (dead_letter) WHERE dead_letter IS NOT NULL',
    'CREATE INDEX ix_broker_queues_idle_at ON broker_queues (idle_at) WHERE idle_at IS NOT NULL',
    'CREATE INDEX ix_broker_queues_owner_id ON broker_queues (owner_id)',
    'CREATE TABLE broker_subscriptions (\n\tid INTEGER NOT NULL, \n\tchannel_id INTEGER NOT NULL, \n\tuser_id INTEGER NOT NULL, \n\tname VARCHAR(128) NOT NULL, \n\tqueue_id INTEGER NOT NULL, \n\tcreated_at INTEGER NOT NULL, \n\tCONSTRAINT pk_broker_subscriptions PRIMARY KEY (id), \n\tCONSTRAINT uq_broker_subscriptions_channel_id_user_id_name UNIQUE (channel_id, user_id, name), \n\tCONSTRAINT fk_broker_subscriptions_channel_id FOREIGN KEY(channel_id) REFERENCES broker_channels (id), \n\tCONSTRAINT fk_broker_subscriptions_user_id FOREIGN KEY(user_id) REFERENCES broker_users (id), \n\tCONSTRAINT uq_broker_subscriptions_queue_id UNIQUE (queue_id), \n\tCONSTRAINT fk_broker_subscriptions_queue_id FOREIGN KEY(queue_id) REFERENCES broker_queues (id)\n)',
    'CREATE INDEX ix_broker_subscriptions_user_id ON broker_subscriptions (user_id)',
)
FIND_USER_NAME = Statement(
    'SELECT broker_users.name FROM broker_users WHERE broker_users.id = ?1',
    None,
)
FIND_PRINCIPAL = Statement(
    (
        'SELECT broker_users.id, broker_users.name, broker_users.is_admin FROM broker_users WHERE'
        ' broker_users.uid = ?1'
    ),
    None,
)
FIND_USER = Statement(
    (
        'SELECT broker_users.id, broker_users.name, broker_users.password_hash, broker_users.uid,'
        ' broker_users.is_admin, broker_users.created_at FROM broker_users WHERE '
        'broker_users.name = ?1'
    ),
    None,
)
LIST_USERS = Statement(
    (
        'SELECT broker_users.id, broker_users.name, broker_users.password_hash, broker_users.uid,'
        ' broker_users.is_admin, broker_users.created_at FROM broker_users ORDER BY '
        'broker_users.name'
    ),
    None,
)
FIRST_USER = Statement(
    'SELECT min(broker_users.id) AS min_1 FROM broker_users',
    None,
)
COUNT_ADMINS = Statement(
    'SELECT count(*) AS count_1 FROM broker_users WHERE broker_users.is_admin IS 1',
    None,
)
INSERT_USER = Statement(
    (
        'INSERT INTO broker_users (id, name, password_hash, uid, is_admin, created_at) VALUES '
        '(?1, ?2, ?3, ?4, ?5, ?6)'
    ),
    'broker_users',
)
SET_PASSWORD = Statement(
    'UPDATE broker_users SET password_hash=?1 WHERE broker_users.id = ?2',
    'broker_users',
)
DELETE_USER = Statement(
    'DELETE FROM broker_users WHERE broker_users.id = ?1',
    'broker_users',
)
COUNT_OWNED = Statement(
    (
        'SELECT count(*) AS count_1, (SELECT count(*) AS count_2 FROM broker_channels WHERE '
        'broker_channels.owner_id = ?1) AS anon_1 FROM broker_queues WHERE broker_queues.owner_id'
        ' = ?1 AND broker_queues.channel_id IS NULL'
    ),
    None,
)
GIVE_QUEUES = Statement(
    (
        'UPDATE broker_queues SET owner_id=?1 WHERE broker_queues.owner_id = ?2 AND '
        'broker_queues.channel_id IS NULL'
    ),
    'broker_queues',
)
GIVE_CHANNELS = Statement(
    'UPDATE broker_channels SET owner_id=?1 WHERE broker_channels.owner_id = ?2',
    'broker_channels',
)
ALLOCATE = Statement(
    (
        'UPDATE broker_sequences SET value=(broker_sequences.value + ?1) WHERE '
        'broker_sequences.name = ?2 RETURNING value'
    ),
    'broker_sequences',
)
ALLOCATE_BEYOND = Statement(
    (
        'UPDATE broker_sequences SET value=?1 WHERE broker_sequences.name = ?2 AND '
        'broker_sequences.value < ?1'
    ),
    'broker_sequences',
)
FIND_QUEUE = Statement(
    (
        'SELECT broker_queues.id, broker_queues.name, broker_queues.owner_id, '
        'broker_queues.channel_id, broker_queues.ready, broker_queues.delayed, '
        'broker_queues.leased, broker_queues.dead, broker_queues.bytes, '
        'broker_queues.sends_paused, broker_queues.pulls_paused, broker_queues.max_attempts, '
        'broker_queues.dead_letter, broker_queues.backoff, broker_queues.ttl, '
        'broker_queues.on_expire, broker_queues.max_messages, broker_queues.max_bytes, '
        'broker_queues.on_full, broker_queues.expire_idle, broker_queues.idle_at FROM '
        'broker_queues WHERE broker_queues.name = ?1'
    ),
    None,
)
FIND_QUEUE_BY_ID = Statement(
    (
        'SELECT broker_queues.id, broker_queues.name, broker_queues.owner_id, '
        'broker_queues.channel_id, broker_queues.ready, broker_queues.delayed, '
        'broker_queues.leased, broker_queues.dead, broker_queues.bytes, '
        'broker_queues.sends_paused, broker_queues.pulls_paused, broker_queues.max_attempts, '
        'broker_queues.dead_letter, broker_queues.backoff, broker_queues.ttl, '
        'broker_queues.on_expire, broker_queues.max_messages, broker_queues.max_bytes, '
        'broker_queues.on_full, broker_queues.expire_idle, broker_queues.idle_at FROM '
        'broker_queues WHERE broker_queues.id = ?1'
    ),
    None,
)
ADD_TO_QUEUE = Statement(
    (
        'UPDATE broker_queues SET ready=(broker_queues.ready + ?1), '
        'delayed=(broker_queues.delayed + ?2), leased=(broker_queues.leased + ?3), '
        'dead=(broker_queues.dead + ?4), bytes=(broker_queues.bytes + ?5), '
        'dropped=(broker_queues.dropped + ?6) WHERE broker_queues.id = ?7'
    ),
    'broker_queues',
)
ADD_TO_SUBSCRIPTIONS = Statement(
    (
        'UPDATE broker_queues SET ready=(broker_queues.ready + ?1), '
        'delayed=(broker_queues.delayed + ?2), leased=(broker_queues.leased + ?3), '
        'dead=(broker_queues.dead + ?4), bytes=(broker_queues.bytes + ?5), '
        'dropped=(broker_queues.dropped + ?6) WHERE broker_queues.channel_id = ?7'
    ),
    'broker_queues',
)
IS_LIMITED = Statement(
    (
        'SELECT broker_queues.id FROM broker_queues WHERE broker_queues.channel_id = ?1 AND '
        'broker_queues.is_limited IS 1 LIMIT ?2 OFFSET 0'
    ),
    None,
)
ADD_TO_ROOMY = Statement(
    (
        'UPDATE broker_queues SET ready=(broker_queues.ready + ?1), '
        'delayed=(broker_queues.delayed + ?2), leased=(broker_queues.leased + ?3), '
        'dead=(broker_queues.dead + ?4), bytes=(broker_queues.bytes + ?5), '
        'dropped=(broker_queues.dropped + ?6) WHERE broker_queues.channel_id = ?7 AND '
        'broker_queues.sends_paused IS NOT 1 AND (broker_queues.max_messages = 0 OR '
        'broker_queues.ready + broker_queues.delayed + broker_queues.leased + broker_queues.dead '
        '< broker_queues.max_messages) AND (broker_queues.max_bytes = 0 OR broker_queues.bytes + '
        '?8 <= broker_queues.max_bytes)'
    ),
    'broker_queues',
)
COUNT_MISSED = Statement(
    (
        'UPDATE broker_queues SET dropped=(broker_queues.dropped + ?1) WHERE '
        'broker_queues.channel_id = ?2 AND broker_queues.is_limited IS 1 AND NOT '
        '(broker_queues.sends_paused IS NOT 1 AND (broker_queues.max_messages = 0 OR '
        'broker_queues.ready + broker_queues.delayed + broker_queues.leased + broker_queues.dead '
        '< broker_queues.max_messages) AND (broker_queues.max_bytes = 0 OR broker_queues.bytes + '
        '?3 <= broker_queues.max_bytes))'
    ),
    'broker_queues',
)
VICTIMS = Statement(
    (
        'SELECT broker_deliveries.id, broker_deliveries.message_id, broker_deliveries.size, '
        'broker_queues.id AS id_1 FROM broker_queues JOIN broker_deliveries ON '
        'broker_deliveries.id = (SELECT min(broker_deliveries_1.id) AS min_1 FROM '
        'broker_deliveries AS broker_deliveries_1 WHERE broker_deliveries_1.queue_id = '
        'broker_queues.id AND broker_deliveries_1.due_at IS NULL AND broker_deliveries_1.rank = '
        '(SELECT max(broker_deliveries_2.rank) AS max_1 FROM broker_deliveries AS '
        'broker_deliveries_2 WHERE broker_deliveries_2.queue_id = broker_queues.id AND '
        'broker_deliveries_2.due_at IS NULL)) WHERE broker_queues.channel_id = ?1 AND '
        'broker_queues.is_limited IS 1 AND broker_queues.on_full = ?2 AND '
        'broker_queues.sends_paused IS NOT 1 AND (broker_queues.max_bytes = 0 OR '
        'broker_queues.max_bytes >= ?3) AND NOT (broker_queues.sends_paused IS NOT 1 AND '
        '(broker_queues.max_messages = 0 OR broker_queues.ready + broker_queues.delayed + '
        'broker_queues.leased + broker_queues.dead < broker_queues.max_messages) AND '
        '(broker_queues.max_bytes = 0 OR broker_queues.bytes + ?4 <= broker_queues.max_bytes))'
    ),
    None,
)
VICTIM = Statement(
    (
        'SELECT broker_deliveries.id, broker_deliveries.message_id, broker_deliveries.size FROM '
        'broker_queues JOIN broker_deliveries ON broker_deliveries.id = (SELECT '
        'min(broker_deliveries_1.id) AS min_1 FROM broker_deliveries AS broker_deliveries_1 WHERE'
        ' broker_deliveries_1.queue_id = broker_queues.id AND broker_deliveries_1.due_at IS NULL '
        'AND broker_deliveries_1.rank = (SELECT max(broker_deliveries_2.rank) AS max_1 FROM '
        'broker_deliveries AS broker_deliveries_2 WHERE broker_deliveries_2.queue_id = '
        'broker_queues.id AND broker_deliveries_2.due_at IS NULL)) WHERE broker_queues.id = ?1'
    ),
    None,
)
FEEDERS = Statement(
    (
        'SELECT broker_queues.name FROM broker_queues WHERE broker_queues.dead_letter = ?1 AND '
        'broker_queues.leased > 0'
    ),
    None,
)
HAS_FEEDERS = Statement(
    'SELECT broker_queues.id FROM broker_queues WHERE broker_queues.dead_letter = ?1',
    None,
)
BUSY_QUEUES = Statement(
    (
        'SELECT broker_queues.name FROM broker_queues WHERE broker_queues.leased > 0 OR '
        'broker_queues.delayed > 0'
    ),
    None,
)
QUEUES_OF_CHANNEL = Statement(
    (
        'SELECT broker_queues.name FROM broker_channels JOIN broker_queues ON '
        'broker_queues.channel_id = broker_channels.id WHERE broker_channels.name = ?1'
    ),
    None,
)
NEXT_REMOVAL = Statement(
    'SELECT min(broker_removals.queue_id) AS min_1 FROM broker_removals',
    None,
)
TOUCH = Statement(
    'UPDATE broker_queues SET idle_at=?1 WHERE broker_queues.id = ?2',
    'broker_queues',
)
NEXT_IDLE = Statement(
    (
        'SELECT min(broker_queues.idle_at) AS min_1 FROM broker_queues WHERE '
        'broker_queues.idle_at IS NOT NULL'
    ),
    None,
)
IDLE = Statement(
    (
        'SELECT broker_queues.id FROM broker_queues WHERE broker_queues.idle_at <= ?1 ORDER BY '
        'broker_queues.idle_at LIMIT ?2 OFFSET 0'
    ),
    None,
)
INSERT_QUEUE = Statement(
    (
        'INSERT INTO broker_queues (id, name, owner_id, channel_id, created_at, ready, delayed, '
        'leased, dead, bytes, dropped, sends_paused, pulls_paused, max_attempts, dead_letter, '
        'backoff, ttl, on_expire, max_messages, max_bytes, on_full, expire_idle, is_limited) '
        'VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 0, 0, 0, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,'
        ' ?16, ?17, 0)'
    ),
    'broker_queues',
)
SET_QUEUE = Statement(
    (
        'UPDATE broker_queues SET max_attempts=?1, dead_letter=?2, backoff=?3, ttl=?4, '
        'on_expire=?5, max_messages=?6, max_bytes=?7, on_full=?8, expire_idle=?9 WHERE '
        'broker_queues.id = ?10'
    ),
    'broker_queues',
)
PAUSE_QUEUE = Statement(
    'UPDATE broker_queues SET sends_paused=?1, pulls_paused=?2 WHERE broker_queues.id = ?3',
    'broker_queues',
)
DERIVE_LIMITED = Statement(
    (
        'UPDATE broker_queues SET is_limited=(broker_queues.max_messages > 0 OR '
        'broker_queues.max_bytes > 0 OR broker_queues.ttl > 0 OR broker_queues.sends_paused IS 1)'
        ' WHERE broker_queues.id = ?1'
    ),
    'broker_queues',
)
DELETE_QUEUE = Statement(
    'DELETE FROM broker_queues WHERE broker_queues.id = ?1',
    'broker_queues',
)
LIST_QUEUES = Statement(
    (
        'SELECT broker_queues.id, broker_queues.name, broker_queues.owner_id, '
        'broker_queues.channel_id, broker_queues.ready, broker_queues.delayed, '
        'broker_queues.leased, broker_queues.dead, broker_queues.bytes, '
        'broker_queues.sends_paused, broker_queues.pulls_paused, broker_queues.max_attempts, '
        'broker_queues.dead_letter, broker_queues.backoff, broker_queues.ttl, '
        'broker_queues.on_expire, broker_queues.max_messages, broker_queues.max_bytes, '
        'broker_queues.on_full, broker_queues.expire_idle, broker_queues.idle_at FROM '
        'broker_queues WHERE broker_queues.channel_id IS NULL AND (?1 IS NULL OR '
        'broker_queues.owner_id = ?1) ORDER BY broker_queues.name'
    ),
    None,
)
SHOW_QUEUES = Statement(
    (
        'SELECT broker_queues.id, broker_queues.name, broker_users.name AS name_1, '
        'broker_queues.created_at, broker_queues.ready, broker_queues.delayed, '
        'broker_queues.leased, broker_queues.dead, broker_queues.bytes, broker_queues.dropped, '
        'broker_queues.sends_paused, broker_queues.pulls_paused, broker_queues.max_attempts, '
        'broker_queues.dead_letter, broker_queues.backoff, broker_queues.ttl, '
        'broker_queues.on_expire, broker_queues.max_messages, broker_queues.max_bytes, '
        'broker_queues.on_full, broker_queues.expire_idle FROM broker_queues JOIN broker_users ON'
        ' broker_users.id = broker_queues.owner_id WHERE broker_queues.channel_id IS NULL AND (?1'
        ' IS NULL OR broker_queues.owner_id = ?1) ORDER BY broker_queues.name'
    ),
    None,
)
SHOW_QUEUE = Statement(
    (
        'SELECT broker_queues.id, broker_queues.name, broker_users.name AS name_1, '
        'broker_queues.created_at, broker_queues.ready, broker_queues.delayed, '
        'broker_queues.leased, broker_queues.dead, broker_queues.bytes, broker_queues.dropped, '
        'broker_queues.sends_paused, broker_queues.pulls_paused, broker_queues.max_attempts, '
        'broker_queues.dead_letter, broker_queues.backoff, broker_queues.ttl, '
        'broker_queues.on_expire, broker_queues.max_messages, broker_queues.max_bytes, '
        'broker_queues.on_full, broker_queues.expire_idle FROM broker_queues JOIN broker_users ON'
        ' broker_users.id = broker_queues.owner_id WHERE broker_queues.id = ?1'
    ),
    None,
)
INSERT_REMOVALS = Bulk(
    'INSERT OR FAIL INTO broker_removals (queue_id) VALUES ',
    '(?{0})',
    '',
    width=1,
    shared=0,
    changes='broker_removals',
    is_run=False,
)
DELETE_REMOVAL = Statement(
    'DELETE FROM broker_removals WHERE broker_removals.queue_id = ?1',
    'broker_removals',
)
FIND_CHANNEL = Statement(
    (
        'SELECT broker_channels.id, broker_channels.name, broker_channels.owner_id, '
        'broker_channels.publish, broker_channels.subscriptions FROM broker_channels WHERE '
        'broker_channels.name = ?1'
    ),
    None,
)
INSERT_CHANNELS = Bulk(
    (
        'INSERT OR FAIL INTO broker_channels (id, name, owner_id, created_at, publish, '
        'subscriptions) VALUES '
    ),
    '(?{0}, ?{1}, ?{2}, ?{3}, ?{5}, ?{4})',
    '',
    width=6,
    shared=0,
    changes='broker_channels',
    is_run=False,
)
SET_CHANNEL = Statement(
    'UPDATE broker_channels SET publish=?1 WHERE broker_channels.id = ?2',
    'broker_channels',
)
DELETE_CHANNEL = Statement(
    'DELETE FROM broker_channels WHERE broker_channels.id = ?1',
    'broker_channels',
)
SHOW_CHANNELS = Statement(
    (
        'SELECT broker_channels.name, broker_users.name AS name_1, broker_channels.created_at, '
        'broker_channels.subscriptions, broker_channels.publish FROM broker_channels JOIN '
        'broker_users ON broker_users.id = broker_channels.owner_id WHERE (?1 IS NULL OR '
        'broker_channels.owner_id = ?1) AND (?2 IS NULL OR broker_channels.id IN (SELECT '
        'broker_subscriptions.channel_id FROM broker_subscriptions WHERE '
        'broker_subscriptions.user_id = ?2)) ORDER BY broker_channels.name'
    ),
    None,
)
SHOW_CHANNEL = Statement(
    (
        'SELECT broker_channels.name, broker_users.name AS name_1, broker_channels.created_at, '
        'broker_channels.subscriptions, broker_channels.publish FROM broker_channels JOIN '
        'broker_users ON broker_users.id = broker_channels.owner_id WHERE broker_channels.id = ?1'
    ),
    None,
)
IS_SUBSCRIBED = Statement(
    (
        'SELECT broker_subscriptions.id FROM broker_subscriptions WHERE '
        'broker_subscriptions.channel_id = ?1 AND broker_subscriptions.user_id = ?2'
    ),
    None,
)
INSERT_SUBSCRIPTIONS = Bulk(
    (
        'INSERT OR FAIL INTO broker_subscriptions (id, channel_id, user_id, name, queue_id, '
        'created_at) VALUES '
    ),
    '(?{0}, ?{1}, ?{2}, ?{3}, ?{4}, ?{5})',
    '',
    width=6,
    shared=0,
    changes='broker_subscriptions',
    is_run=False,
)
ADD_SUBSCRIPTIONS = Statement(
    (
        'UPDATE broker_channels SET subscriptions=(broker_channels.subscriptions + ?1) WHERE '
        'broker_channels.id = ?2'
    ),
    'broker_channels',
)
SUBSCRIPTIONS_OF_USER = Statement(
    (
        'SELECT broker_subscriptions.queue_id FROM broker_subscriptions WHERE '
        'broker_subscriptions.user_id = ?1'
    ),
    None,
)
DELETE_SUBSCRIPTION = Statement(
    'DELETE FROM broker_subscriptions WHERE broker_subscriptions.queue_id = ?1',
    'broker_subscriptions',
)
COUNT_HELD = Statement(
    (
        'SELECT sum(broker_queues.ready + broker_queues.delayed + broker_queues.leased + '
        'broker_queues.dead) AS sum_1 FROM broker_queues WHERE broker_queues.channel_id = ?1'
    ),
    None,
)
REMOVE_QUEUES_OF_CHANNEL = Statement(
    (
        'INSERT INTO broker_removals (queue_id) SELECT broker_queues.id FROM broker_queues WHERE '
        'broker_queues.channel_id = ?1'
    ),
    'broker_removals',
)
DELETE_SUBSCRIPTIONS_OF_CHANNEL = Statement(
    'DELETE FROM broker_subscriptions WHERE broker_subscriptions.channel_id = ?1',
    'broker_subscriptions',
)
DELETE_QUEUES_OF_CHANNEL = Statement(
    'DELETE FROM broker_queues WHERE broker_queues.channel_id = ?1',
    'broker_queues',
)
INSERT_MESSAGES = Bulk(
    (
        'INSERT OR FAIL INTO broker_messages (id, sender, sent_at, content_type, headers, body) '
        'VALUES '
    ),
    '(?{0}, ?{1}, ?{2}, ?{3}, ?{4}, ?{5})',
    '',
    width=6,
    shared=0,
    changes='broker_messages',
    is_run=False,
)
INSERT_MESSAGES_ALIKE = Bulk(
    (
        'INSERT OR FAIL INTO broker_messages (id, sender, sent_at, content_type, headers, body) '
        'VALUES '
    ),
    '((?1 + {row}), ?2, ?3, ?4, ?5, ?{0})',
    '',
    width=1,
    shared=5,
    changes='broker_messages',
    is_run=True,
)
FIND_MESSAGE = Statement(
    (
        'SELECT broker_messages.sender, broker_messages.sent_at, broker_messages.content_type, '
        'broker_messages.headers, broker_messages.body FROM broker_messages WHERE '
        'broker_messages.id = ?1'
    ),
    None,
)
DELETE_MESSAGES = ByIds(
    'DELETE FROM broker_messages WHERE broker_messages.id IN (',
    '?{0}',
    ')',
    width=1,
    shared=0,
    changes='broker_messages',
    span='DELETE FROM broker_messages WHERE broker_messages.id BETWEEN ?1 AND ?2',
)
INSERT_PUBLICATIONS = Bulk(
    'INSERT OR FAIL INTO broker_publications (message_id, copies, remaining) VALUES ',
    '(?{0}, ?{1}, ?{2})',
    '',
    width=3,
    shared=0,
    changes='broker_publications',
    is_run=False,
)
FIND_PUBLICATION = Statement(
    (
        'SELECT broker_publications.copies FROM broker_publications WHERE '
        'broker_publications.message_id = ?1'
    ),
    None,
)
TAKE_COPIES = Statement(
    (
        'UPDATE broker_publications SET remaining=(broker_publications.remaining - ?1) WHERE '
        'broker_publications.message_id = ?2 RETURNING remaining'
    ),
    'broker_publications',
)
DELETE_PUBLICATION = Statement(
    'DELETE FROM broker_publications WHERE broker_publications.message_id = ?1',
    'broker_publications',
)
FIND_KEYS = Bulk(
    (
        'SELECT broker_keys."key", broker_keys.message_id, broker_keys.expires_at, '
        'broker_keys.count FROM broker_keys WHERE broker_keys.target_id = ?1 AND '
        'broker_keys."key" IN ('
    ),
    '?{0}',
    ')',
    width=1,
    shared=1,
    changes=None,
    is_run=False,
)
INSERT_KEYS = Bulk(
    (
        'INSERT OR FAIL INTO broker_keys (target_id, "key", message_id, expires_at, count) VALUES'
        ' '
    ),
    '(?{0}, ?{1}, ?{2}, ?{3}, ?{4})',
    '',
    width=5,
    shared=0,
    changes='broker_keys',
    is_run=False,
)
DELETE_KEY = Statement(
    'DELETE FROM broker_keys WHERE broker_keys.target_id = ?1 AND broker_keys."key" = ?2',
    'broker_keys',
)
NEXT_KEY_EXPIRY = Statement(
    'SELECT min(broker_keys.expires_at) AS min_1 FROM broker_keys',
    None,
)
EXPIRED_KEYS = Statement(
    (
        'SELECT broker_keys.target_id, broker_keys."key" FROM broker_keys WHERE '
        'broker_keys.expires_at <= ?1 ORDER BY broker_keys.expires_at LIMIT ?2 OFFSET 0'
    ),
    None,
)
INSERT_DELIVERIES = Bulk(
    (
        'INSERT OR FAIL INTO broker_deliveries (id, queue_id, message_id, rank, size, attempts, '
        'generation, ready_at, due_at, expires_at) VALUES '
    ),
    '(?{0}, ?{1}, ?{2}, ?{3}, ?{4}, ?{5}, ?{6}, ?{7}, ?{8}, ?{9})',
    '',
    width=10,
    shared=0,
    changes='broker_deliveries',
    is_run=False,
)
INSERT_DELIVERIES_ALIKE = Bulk(
    (
        'INSERT OR FAIL INTO broker_deliveries (id, queue_id, message_id, rank, size, attempts, '
        'generation, ready_at, due_at, expires_at) VALUES '
    ),
    '((?1 + {row}), ?2, (?1 + {row}), ?3, ?{0}, 0, 0, ?4, ?5, ?6)',
    '',
    width=1,
    shared=6,
    changes='broker_deliveries',
    is_run=True,
)
IMPORT_DELIVERIES = Bulk(
    (
        'INSERT OR FAIL INTO broker_deliveries (id, queue_id, message_id, rank, size, attempts, '
        'generation, ready_at, due_at, expires_at, failures, died) VALUES '
    ),
    '(?{0}, ?{1}, ?{2}, ?{3}, ?{4}, ?{5}, ?{6}, ?{7}, ?{8}, ?{9}, ?{10}, ?{11})',
    '',
    width=12,
    shared=0,
    changes='broker_deliveries',
    is_run=False,
)
FAN_OUT = Bulk(
    (
        'INSERT OR FAIL INTO broker_deliveries (id, queue_id, message_id, rank, size, attempts, '
        'generation, ready_at, due_at, expires_at) WITH published(message, rank, size, ready_at, '
        'due_at, expires_at) AS (VALUES '
    ),
    '(?{0}, ?{1}, ?{2}, ?{3}, ?{4}, ?{5})',
    (
        '), subscribed AS (SELECT row_number() OVER () AS place, broker_queues.id AS id FROM '
        'broker_queues WHERE broker_queues.channel_id = ?1) SELECT published.message + '
        'subscribed.place AS anon_1, subscribed.id, published.message, published.rank, '
        'published.size, 0, 0, published.ready_at, published.due_at, published.expires_at FROM '
        'published LEFT OUTER JOIN subscribed ON 1 = 1'
    ),
    width=6,
    shared=1,
    changes='broker_deliveries',
    is_run=False,
)
FAN_OUT_WITHIN_LIMITS = Statement(
    (
        'INSERT OR FAIL INTO broker_deliveries (id, queue_id, message_id, rank, size, attempts, '
        'generation, ready_at, due_at, expires_at) SELECT ?1 + row_number() OVER () AS anon_1, '
        'broker_queues.id, ?1 AS anon_2, ?2 AS anon_3, ?3 AS anon_4, 0, 0, ?4 AS anon_5, ?5 AS '
        'anon_6, CASE WHEN (broker_queues.ttl = 0) THEN ?6 WHEN (?6 < ?7 + broker_queues.ttl) '
        'THEN ?6 ELSE ?7 + broker_queues.ttl END AS anon_7 FROM broker_queues WHERE '
        'broker_queues.channel_id = ?8 AND broker_queues.sends_paused IS NOT 1 AND '
        '(broker_queues.max_messages = 0 OR broker_queues.ready + broker_queues.delayed + '
        'broker_queues.leased + broker_queues.dead < broker_queues.max_messages) AND '
        '(broker_queues.max_bytes = 0 OR broker_queues.bytes + ?3 <= broker_queues.max_bytes)'
    ),
    'broker_deliveries',
)
CLAIM = Statement(
    (
        'SELECT broker_deliveries.id, broker_deliveries.message_id, broker_deliveries.rank, '
        'broker_deliveries.attempts, broker_deliveries.generation, broker_deliveries.died, '
        'broker_messages.sender, broker_messages.sent_at, broker_messages.content_type, '
        'broker_messages.headers, broker_messages.body FROM broker_deliveries JOIN '
        'broker_messages ON broker_messages.id = broker_deliveries.message_id WHERE '
        'broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at IS NULL AND '
        '(broker_deliveries.expires_at IS NULL OR broker_deliveries.expires_at > ?2) ORDER BY '
        'broker_deliveries.rank, broker_deliveries.id LIMIT ?3 OFFSET 0'
    ),
    None,
)
HEAD_EXPIRY = Statement(
    (
        'SELECT broker_deliveries.expires_at FROM broker_deliveries WHERE '
        'broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at IS NULL ORDER BY '
        'broker_deliveries.rank, broker_deliveries.id LIMIT 1 OFFSET 0'
    ),
    None,
)
LEASE = ByIds(
    (
        'UPDATE OR FAIL broker_deliveries SET attempts=(broker_deliveries.attempts + 1), '
        'generation=(broker_deliveries.generation + 1), due_at=?1, leased_by=?2 WHERE '
        'broker_deliveries.id IN ('
    ),
    '?{0}',
    ')',
    width=1,
    shared=2,
    changes='broker_deliveries',
    span=(
        'UPDATE OR FAIL broker_deliveries SET attempts=(broker_deliveries.attempts + 1), '
        'generation=(broker_deliveries.generation + 1), due_at=?1, leased_by=?2 WHERE '
        'broker_deliveries.id BETWEEN ?3 AND ?4'
    ),
)
FIND_LEASES = ByIds(
    (
        'SELECT broker_deliveries.id, broker_deliveries.queue_id, broker_deliveries.message_id, '
        'broker_deliveries.size, broker_deliveries.generation, broker_deliveries.due_at, '
        'broker_deliveries.leased_by, broker_deliveries.attempts, broker_deliveries.failures FROM'
        ' broker_deliveries WHERE broker_deliveries.id IN ('
    ),
    '?{0}',
    ') AND broker_deliveries.leased_by IS NOT NULL',
    width=1,
    shared=0,
    changes=None,
    span=(
        'SELECT broker_deliveries.id, broker_deliveries.queue_id, broker_deliveries.message_id, '
        'broker_deliveries.size, broker_deliveries.generation, broker_deliveries.due_at, '
        'broker_deliveries.leased_by, broker_deliveries.attempts, broker_deliveries.failures FROM'
        ' broker_deliveries WHERE broker_deliveries.id BETWEEN ?1 AND ?2 AND '
        'broker_deliveries.leased_by IS NOT NULL'
    ),
)
COUNT_LEASES = Statement(
    (
        'SELECT count(*) AS count_1, sum(broker_deliveries.size) AS sum_1 FROM broker_deliveries '
        'WHERE broker_deliveries.id BETWEEN ?1 AND ?2 AND broker_deliveries.queue_id = ?3 AND '
        'broker_deliveries.generation = ?4 AND broker_deliveries.due_at = ?5 AND '
        'broker_deliveries.leased_by IS NOT NULL AND broker_deliveries.message_id = '
        'broker_deliveries.id'
    ),
    None,
)
RELEASE = Statement(
    (
        'UPDATE broker_deliveries SET attempts=(broker_deliveries.attempts - ?1), '
        'ready_at=coalesce(broker_deliveries.ready_at, ?2), due_at=?3, leased_by=NULL, '
        'failures=?4 WHERE broker_deliveries.id = ?5'
    ),
    'broker_deliveries',
)
EXTEND = Statement(
    'UPDATE broker_deliveries SET due_at=?1 WHERE broker_deliveries.id = ?2',
    'broker_deliveries',
)
FIND_DUE_DELAYED = Statement(
    (
        'SELECT broker_deliveries.id FROM broker_deliveries WHERE broker_deliveries.queue_id = ?1'
        ' AND broker_deliveries.due_at <= ?2 AND broker_deliveries.leased_by IS NULL ORDER BY '
        'broker_deliveries.due_at LIMIT ?3 OFFSET 0'
    ),
    None,
)
FIND_DUE_LEASED = Statement(
    (
        'SELECT broker_deliveries.id, broker_deliveries.message_id, broker_deliveries.leased_by, '
        'broker_deliveries.attempts, broker_deliveries.failures, broker_deliveries.size FROM '
        'broker_deliveries WHERE broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at <= '
        '?2 AND broker_deliveries.leased_by IS NOT NULL ORDER BY broker_deliveries.due_at LIMIT '
        '?3 OFFSET 0'
    ),
    None,
)
FIND_CONNECTION_LEASES = Statement(
    (
        'SELECT broker_deliveries.id, broker_deliveries.failures FROM broker_deliveries WHERE '
        'broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at >= ?2 AND '
        'broker_deliveries.leased_by IS NOT NULL LIMIT ?3 OFFSET 0'
    ),
    None,
)
NEXT_DUE_DELAYED = Statement(
    (
        'SELECT min(broker_deliveries.due_at) AS min_1 FROM broker_deliveries WHERE '
        'broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at IS NOT NULL AND '
        'broker_deliveries.leased_by IS NULL'
    ),
    None,
)
NEXT_DUE_LEASED = Statement(
    (
        'SELECT min(broker_deliveries.due_at) AS min_1 FROM broker_deliveries WHERE '
        'broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at IS NOT NULL AND '
        'broker_deliveries.leased_by IS NOT NULL'
    ),
    None,
)
MAKE_READY = Statement(
    (
        'UPDATE broker_deliveries SET ready_at=coalesce(broker_deliveries.ready_at, '
        'broker_deliveries.due_at), due_at=NULL WHERE broker_deliveries.id = ?1'
    ),
    'broker_deliveries',
)
END_LEASE = Statement(
    (
        'UPDATE broker_deliveries SET due_at=NULL, leased_by=NULL, failures=?1 WHERE '
        'broker_deliveries.id = ?2'
    ),
    'broker_deliveries',
)
READY_HEAD = Statement(
    (
        'SELECT broker_deliveries.ready_at FROM broker_deliveries WHERE '
        'broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at IS NULL AND '
        'broker_deliveries.rank = ?2 ORDER BY broker_deliveries.id LIMIT ?3 OFFSET 0'
    ),
    None,
)
MOVE = Statement(
    (
        'UPDATE broker_deliveries SET queue_id=?1, attempts=0, ready_at=?2, due_at=NULL, '
        'leased_by=NULL, expires_at=?3, failures=?4, died=?5 WHERE broker_deliveries.id = ?6'
    ),
    'broker_deliveries',
)
DELETE_DELIVERIES = ByIds(
    'DELETE FROM broker_deliveries WHERE broker_deliveries.id IN (',
    '?{0}',
    ')',
    width=1,
    shared=0,
    changes='broker_deliveries',
    span='DELETE FROM broker_deliveries WHERE broker_deliveries.id BETWEEN ?1 AND ?2',
)
READY_SLICE = Statement(
    (
        'SELECT broker_deliveries.id, broker_deliveries.message_id, broker_deliveries.size FROM '
        'broker_deliveries WHERE broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at IS '
        'NULL LIMIT ?2 OFFSET 0'
    ),
    None,
)
DELAYED_SLICE = Statement(
    (
        'SELECT broker_deliveries.id, broker_deliveries.message_id, broker_deliveries.size FROM '
        'broker_deliveries WHERE broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at IS '
        'NOT NULL AND broker_deliveries.leased_by IS NULL LIMIT ?2 OFFSET 0'
    ),
    None,
)
LEASED_SLICE = Statement(
    (
        'SELECT broker_deliveries.id, broker_deliveries.message_id, broker_deliveries.size FROM '
        'broker_deliveries WHERE broker_deliveries.queue_id = ?1 AND broker_deliveries.leased_by '
        'IS NOT NULL LIMIT ?2 OFFSET 0'
    ),
    None,
)
OLD_READY_SLICE = Statement(
    (
        'SELECT broker_deliveries.id, broker_deliveries.message_id, broker_deliveries.size FROM '
        'broker_deliveries WHERE broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at IS '
        'NULL AND broker_deliveries.id <= ?2 LIMIT ?3 OFFSET 0'
    ),
    None,
)
OLD_DELAYED_SLICE = Statement(
    (
        'SELECT broker_deliveries.id, broker_deliveries.message_id, broker_deliveries.size FROM '
        'broker_deliveries WHERE broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at IS '
        'NOT NULL AND broker_deliveries.leased_by IS NULL AND broker_deliveries.id <= ?2 LIMIT ?3'
        ' OFFSET 0'
    ),
    None,
)
EXPIRED = Statement(
    (
        'SELECT broker_deliveries.id, broker_deliveries.message_id, broker_deliveries.size, '
        'broker_deliveries.queue_id, broker_deliveries.due_at, broker_deliveries.failures FROM '
        'broker_deliveries WHERE broker_deliveries.expires_at <= ?1 AND '
        'broker_deliveries.leased_by IS NULL ORDER BY broker_deliveries.expires_at LIMIT ?2 '
        'OFFSET 0'
    ),
    None,
)
NEXT_EXPIRY = Statement(
    (
        'SELECT min(broker_deliveries.expires_at) AS min_1 FROM broker_deliveries WHERE '
        'broker_deliveries.expires_at IS NOT NULL AND broker_deliveries.leased_by IS NULL'
    ),
    None,
)
FIND_COPY = Statement(
    (
        'SELECT broker_deliveries.id, broker_deliveries.message_id, broker_deliveries.size, '
        'broker_deliveries.due_at, broker_deliveries.leased_by, broker_deliveries.expires_at, '
        'broker_deliveries.failures, broker_deliveries.died, broker_deliveries.generation FROM '
        'broker_deliveries WHERE broker_deliveries.id BETWEEN ?1 AND ?2 AND '
        'broker_deliveries.queue_id = ?3'
    ),
    None,
)
PEEK_READY = Statement(
    (
        'SELECT broker_deliveries.attempts, broker_deliveries.rank, broker_deliveries.ready_at, '
        'broker_deliveries.due_at, broker_deliveries.leased_by, broker_deliveries.expires_at, '
        'NULL, NULL, broker_deliveries.failures, broker_deliveries.died, broker_messages.id, '
        'broker_messages.body, broker_messages.content_type, broker_messages.headers, '
        'broker_messages.sender, broker_messages.sent_at FROM broker_deliveries JOIN '
        'broker_messages ON broker_messages.id = broker_deliveries.message_id WHERE '
        'broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at IS NULL AND '
        '(broker_deliveries.expires_at IS NULL OR broker_deliveries.expires_at > ?2) ORDER BY '
        'broker_deliveries.rank, broker_deliveries.id LIMIT ?3 OFFSET 0'
    ),
    None,
)
PEEK_DELAYED = Statement(
    (
        'SELECT broker_deliveries.attempts, broker_deliveries.rank, broker_deliveries.ready_at, '
        'broker_deliveries.due_at, broker_deliveries.leased_by, broker_deliveries.expires_at, '
        'NULL, NULL, broker_deliveries.failures, broker_deliveries.died, broker_messages.id, '
        'broker_messages.body, broker_messages.content_type, broker_messages.headers, '
        'broker_messages.sender, broker_messages.sent_at FROM broker_deliveries JOIN '
        'broker_messages ON broker_messages.id = broker_deliveries.message_id WHERE '
        'broker_deliveries.queue_id = ?1 AND broker_deliveries.due_at IS NOT NULL AND '
        'broker_deliveries.leased_by IS NULL AND (broker_deliveries.expires_at IS NULL OR '
        'broker_deliveries.expires_at > ?2) ORDER BY broker_deliveries.due_at LIMIT ?3 OFFSET 0'
    ),
    None,
)
PEEK_LEASED = Statement(
    (
        'SELECT broker_deliveries.attempts, broker_deliveries.rank, broker_deliveries.ready_at, '
        'broker_deliveries.due_at, broker_deliveries.leased_by, broker_deliveries.expires_at, '
        'NULL, NULL, broker_deliveries.failures, broker_deliveries.died, broker_messages.id, '
        'broker_messages.body, broker_messages.content_type, broker_messages.headers, '
        'broker_messages.sender, broker_messages.sent_at FROM broker_deliveries JOIN '
        'broker_messages ON broker_messages.id = broker_deliveries.message_id WHERE '
        'broker_deliveries.queue_id = ?1 AND broker_deliveries.leased_by IS NOT NULL ORDER BY '
        'broker_deliveries.due_at LIMIT ?2 OFFSET 0'
    ),
    None,
)
PEEK_DEAD = Statement(
    (
        'SELECT broker_dead_deliveries.attempts, broker_dead_deliveries.rank, NULL, NULL, NULL, '
        'NULL, broker_dead_deliveries.dead_at, broker_dead_deliveries.reason, '
        'broker_dead_deliveries.failures, broker_dead_deliveries.died, broker_messages.id, '
        'broker_messages.body, broker_messages.content_type, broker_messages.headers, '
        'broker_messages.sender, broker_messages.sent_at FROM broker_dead_deliveries JOIN '
        'broker_messages ON broker_messages.id = broker_dead_deliveries.message_id WHERE '
        'broker_dead_deliveries.queue_id = ?1 ORDER BY broker_dead_deliveries.id LIMIT ?2 OFFSET '
        '0'
    ),
    None,
)
SHOW_DEAD = Statement(
    (
        'SELECT broker_dead_deliveries.attempts, broker_dead_deliveries.rank, NULL, NULL, NULL, '
        'NULL, broker_dead_deliveries.dead_at, broker_dead_deliveries.reason, '
        'broker_dead_deliveries.failures, broker_dead_deliveries.died, broker_messages.id, '
        'broker_messages.body, broker_messages.content_type, broker_messages.headers, '
        'broker_messages.sender, broker_messages.sent_at FROM broker_dead_deliveries JOIN '
        'broker_messages ON broker_messages.id = broker_dead_deliveries.message_id WHERE '
        'broker_dead_deliveries.id = ?1'
    ),
    None,
)
LIVING_PLACES = Statement(
    (
        'SELECT broker_deliveries.queue_id, broker_deliveries.attempts, broker_deliveries.rank, '
        'broker_deliveries.ready_at, broker_deliveries.due_at, broker_deliveries.leased_by, '
        'broker_deliveries.expires_at, NULL, NULL, broker_deliveries.failures, '
        'broker_deliveries.died FROM broker_deliveries WHERE broker_deliveries.id BETWEEN ?1 AND '
        '?2 AND broker_deliveries.message_id = ?1 LIMIT ?3 OFFSET 0'
    ),
    None,
)
DEAD_PLACES = Statement(
    (
        'SELECT broker_dead_deliveries.queue_id, broker_dead_deliveries.attempts, '
        'broker_dead_deliveries.rank, NULL, NULL, NULL, NULL, broker_dead_deliveries.dead_at, '
        'broker_dead_deliveries.reason, broker_dead_deliveries.failures, '
        'broker_dead_deliveries.died FROM broker_dead_deliveries WHERE broker_dead_deliveries.id '
        'BETWEEN ?1 AND ?2 AND broker_dead_deliveries.message_id = ?1 LIMIT ?3 OFFSET 0'
    ),
    None,
)
IMPORT_DEAD = Bulk(
    (
        'INSERT OR FAIL INTO broker_dead_deliveries (id, queue_id, message_id, rank, size, '
        'attempts, generation, failures, died, dead_at, reason) VALUES '
    ),
    '(?{0}, ?{1}, ?{2}, ?{3}, ?{4}, ?{5}, ?{6}, ?{7}, ?{8}, ?{9}, ?{10})',
    '',
    width=11,
    shared=0,
    changes='broker_dead_deliveries',
    is_run=False,
)
BURY = Statement(
    (
        'INSERT INTO broker_dead_deliveries (id, queue_id, message_id, rank, size, attempts, '
        'generation, failures, died, dead_at, reason) SELECT broker_deliveries.id, '
        'broker_deliveries.queue_id, broker_deliveries.message_id, broker_deliveries.rank, '
        'broker_deliveries.size, broker_deliveries.attempts, broker_deliveries.generation, ?1 AS '
        'anon_1, broker_deliveries.died, ?2 AS anon_2, ?3 AS anon_3 FROM broker_deliveries WHERE '
        'broker_deliveries.id = ?4'
    ),
    'broker_dead_deliveries',
)
REVIVE = Statement(
    (
        'INSERT INTO broker_deliveries (id, queue_id, message_id, rank, size, attempts, '
        'generation, ready_at, due_at, leased_by, expires_at, failures, died) SELECT '
        'broker_dead_deliveries.id, broker_dead_deliveries.queue_id, '
        'broker_dead_deliveries.message_id, broker_dead_deliveries.rank, '
        'broker_dead_deliveries.size, 0, broker_dead_deliveries.generation, ?1 AS anon_1, NULL, '
        'NULL, NULL, broker_dead_deliveries.failures, broker_dead_deliveries.died FROM '
        'broker_dead_deliveries WHERE broker_dead_deliveries.id = ?2'
    ),
    'broker_deliveries',
)
DELETE_DEAD = ByIds(
    'DELETE FROM broker_dead_deliveries WHERE broker_dead_deliveries.id IN (',
    '?{0}',
    ')',
    width=1,
    shared=0,
    changes='broker_dead_deliveries',
    span='DELETE FROM broker_dead_deliveries WHERE broker_dead_deliveries.id BETWEEN ?1 AND ?2',
)
DEAD_SLICE = Statement(
    (
        'SELECT broker_dead_deliveries.id, broker_dead_deliveries.message_id, '
        'broker_dead_deliveries.size FROM broker_dead_deliveries WHERE '
        'broker_dead_deliveries.queue_id = ?1 AND broker_dead_deliveries.id > ?2 ORDER BY '
        'broker_dead_deliveries.id LIMIT ?3 OFFSET 0'
    ),
    None,
)
LIST_DEAD = Statement(
    (
        'SELECT broker_dead_deliveries.message_id, broker_dead_deliveries.dead_at, '
        'broker_dead_deliveries.reason, broker_dead_deliveries.attempts, '
        'broker_dead_deliveries.rank, broker_dead_deliveries.size, broker_messages.content_type, '
        'broker_messages.sender, broker_messages.sent_at FROM broker_dead_deliveries JOIN '
        'broker_messages ON broker_messages.id = broker_dead_deliveries.message_id WHERE '
        'broker_dead_deliveries.queue_id = ?1 AND broker_dead_deliveries.id BETWEEN ?2 AND ?3 AND'
        ' (?4 IS NULL OR instr(broker_messages.body, ?4) > 0 OR '
        'instr(CAST(broker_messages.headers AS BLOB), ?4) > 0 OR '
        'instr(CAST(broker_dead_deliveries.reason AS BLOB), ?4) > 0) ORDER BY '
        'broker_dead_deliveries.id LIMIT ?5 OFFSET 0'
    ),
    None,
)
PICK_DEAD = Statement(
    (
        'SELECT broker_dead_deliveries.id, broker_dead_deliveries.message_id, '
        'broker_dead_deliveries.size FROM broker_dead_deliveries JOIN broker_messages ON '
        'broker_messages.id = broker_dead_deliveries.message_id WHERE '
        'broker_dead_deliveries.queue_id = ?1 AND broker_dead_deliveries.id BETWEEN ?2 AND ?3 AND'
        ' (?4 IS NULL OR instr(broker_messages.body, ?4) > 0 OR '
        'instr(CAST(broker_messages.headers AS BLOB), ?4) > 0 OR '
        'instr(CAST(broker_dead_deliveries.reason AS BLOB), ?4) > 0) ORDER BY '
        'broker_dead_deliveries.id LIMIT ?5 OFFSET 0'
    ),
    None,
)
FIND_DEAD = Statement(
    (
        'SELECT broker_dead_deliveries.id, broker_dead_deliveries.message_id, '
        'broker_dead_deliveries.size FROM broker_dead_deliveries WHERE broker_dead_deliveries.id '
        'BETWEEN ?1 AND ?2 AND broker_dead_deliveries.queue_id = ?3'
    ),
    None,
)
TOTALS = Statement(
    (
        'SELECT count(*) FILTER (WHERE broker_queues.channel_id IS NULL) AS anon_1, (SELECT '
        'count(*) AS count_1 FROM broker_channels) AS anon_2, (SELECT count(*) AS count_2 FROM '
        'broker_subscriptions) AS anon_3, (SELECT count(*) AS count_3 FROM broker_users) AS '
        'anon_4, coalesce(sum(broker_queues.ready), 0) AS coalesce_1, '
        'coalesce(sum(broker_queues.delayed), 0) AS coalesce_2, '
        'coalesce(sum(broker_queues.leased), 0) AS coalesce_3, coalesce(sum(broker_queues.dead), '
        '0) AS coalesce_4, coalesce(sum(broker_queues.bytes), 0) AS coalesce_5 FROM broker_queues'
    ),
    None,
)
