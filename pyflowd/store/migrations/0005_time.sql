-- What an explanation looks up.

CREATE INDEX event_of_host ON event (event) WHERE run IS NULL;
CREATE INDEX slot_skipped ON slot (workflow, scheduled_us) WHERE fate = 'skipped';

-- Events that start runs.

CREATE TABLE firing (           -- what reached an event trigger: one row each, so that nothing starts two runs
    workflow   TEXT NOT NULL,
    trigger    TEXT NOT NULL,
    key        TEXT NOT NULL,   -- a state of a file, a run that ended, a change of a unit, a delivery
    at_us      INTEGER NOT NULL,
    fate       TEXT NOT NULL,   -- model.Fate
    reason     TEXT,            -- model.SlotReason
    run        INTEGER,
    summary    TEXT NOT NULL,   -- the event in a few words, for people
    error      TEXT NOT NULL DEFAULT '',
    expires_us INTEGER,         -- may be forgotten then; NULL: whoever looks for such events says when
    PRIMARY KEY (workflow, trigger, key)
) WITHOUT ROWID, STRICT;

CREATE INDEX firing_by_time ON firing (at_us);
CREATE INDEX firing_by_expiry ON firing (expires_us) WHERE expires_us IS NOT NULL;

CREATE TABLE event_trigger (    -- a file or unit trigger in force: what was there before it came does not fire
    workflow TEXT NOT NULL,
    trigger  TEXT NOT NULL,
    spec     TEXT NOT NULL,     -- what it looks at: another one begins anew
    since_us INTEGER NOT NULL,
    known    BLOB,              -- of files: msgpack of path to state of those that were there; NULL: not yet looked
    PRIMARY KEY (workflow, trigger)
) WITHOUT ROWID, STRICT;

CREATE TABLE claim (            -- a file that is about to be renamed; it becomes a firing
    workflow TEXT NOT NULL,
    trigger  TEXT NOT NULL,
    key      TEXT NOT NULL,
    source   TEXT NOT NULL,
    target   TEXT NOT NULL,
    PRIMARY KEY (workflow, trigger, key)
) WITHOUT ROWID, STRICT;

CREATE TABLE run_event (        -- the `event` of a run that one started
    run  INTEGER PRIMARY KEY,
    body BLOB NOT NULL          -- msgpack
) STRICT;

-- Slots of the past that somebody asked for: each remaining one is a row, which goes in the transaction that records its
-- run.

CREATE TABLE backfill (
    backfill     INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow     TEXT NOT NULL,
    trigger      TEXT NOT NULL,
    from_us      INTEGER NOT NULL,
    until_us     INTEGER NOT NULL,
    params       BLOB NOT NULL,     -- msgpack of a map: what was given over the params of the trigger
    parallel     INTEGER NOT NULL,
    newest_first INTEGER NOT NULL,
    only_missing INTEGER NOT NULL,
    requested_by TEXT NOT NULL,
    created_us   INTEGER NOT NULL,
    total        INTEGER NOT NULL,  -- slots
    recorded     INTEGER NOT NULL DEFAULT 0, -- runs
    succeeded    INTEGER NOT NULL DEFAULT 0,
    failed       INTEGER NOT NULL DEFAULT 0,
    cancelled    INTEGER NOT NULL DEFAULT 0,
    refused      INTEGER NOT NULL DEFAULT 0, -- slots that could not be made a run
    error        TEXT NOT NULL DEFAULT '',   -- why the newest of them could not
    cancelled_by TEXT NOT NULL DEFAULT '',
    ended_us     INTEGER
) STRICT;

CREATE INDEX backfill_open ON backfill (backfill) WHERE ended_us IS NULL;

CREATE TABLE backfill_slot (
    backfill     INTEGER NOT NULL,
    scheduled_us INTEGER NOT NULL,
    PRIMARY KEY (backfill, scheduled_us)
) WITHOUT ROWID, STRICT;

ALTER TABLE run ADD COLUMN backfill INTEGER;
CREATE UNIQUE INDEX run_of_backfill ON run (backfill, scheduled_us) WHERE backfill IS NOT NULL;

-- What was expected and did not happen in time: told once for each slot or run, and once more when it happens after all.

CREATE TABLE expectation (
    workflow   TEXT NOT NULL,
    sort       TEXT NOT NULL,       -- model.Expected
    trigger    TEXT NOT NULL,       -- empty: it is about a run
    subject    INTEGER NOT NULL,    -- the slot's time, or the run
    missed_us  INTEGER NOT NULL,
    run        INTEGER,             -- that was late
    text       TEXT NOT NULL,       -- for people
    met_us     INTEGER,             -- when it happened after all
    PRIMARY KEY (workflow, sort, trigger, subject)
) WITHOUT ROWID, STRICT;

CREATE INDEX expectation_open ON expectation (missed_us) WHERE met_us IS NULL;

CREATE TABLE expectation_cursor (
    workflow  TEXT PRIMARY KEY,
    cursor_us INTEGER NOT NULL      -- what should have happened up to here was looked at
) WITHOUT ROWID, STRICT;

-- Slots and triggers by time.

ALTER TABLE slot ADD COLUMN detail TEXT NOT NULL DEFAULT '';  -- which calendar or blackout, what a condition used
ALTER TABLE trigger ADD COLUMN anchor_us INTEGER;             -- from when on an interval is counted: its first load
