-- The spool of messages: written with what they tell of, and kept for a while after they were sent.

CREATE TABLE notification (
    notification INTEGER PRIMARY KEY AUTOINCREMENT, -- with the store's instance the id that receivers see
    channel      TEXT NOT NULL,
    state        TEXT NOT NULL,    -- notify.MessageState
    body         BLOB NOT NULL,    -- msgpack of notify.Message
    created_us   INTEGER NOT NULL,
    tries        INTEGER NOT NULL DEFAULT 0,
    next_us      INTEGER,          -- of a waiting one: not before this
    ended_us     INTEGER,
    error        TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX notification_waiting ON notification (notification) WHERE state = 'waiting';
CREATE INDEX notification_lost ON notification (ended_us) WHERE state IN ('given_up', 'dropped');
CREATE INDEX notification_ended ON notification (ended_us) WHERE ended_us IS NOT NULL;
