-- What happened (event) is the truth; run, task, attempt and slot are its fold, written in the same transaction.
-- Times are microseconds of the wall clock. A migration is never edited once it has been released.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE definition (       -- every text that was ever in force or run, for as long as a run is bound to it
    digest    TEXT PRIMARY KEY, -- SHA-256 of the text, hexadecimal
    text      BLOB NOT NULL,
    compiled  BLOB NOT NULL,    -- msgpack of model.Workflow
    seen_us   INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE file (             -- what the workflows folder held when it was last looked at
    file      TEXT PRIMARY KEY,
    signature BLOB,             -- msgpack of loader_frames.Signature, as it was read last
    workflow  TEXT,             -- in force from this file
    digest    TEXT,             -- of the text in force
    problems  BLOB NOT NULL,    -- msgpack of model.Problem's; an error here means its newest text is bad
    claimed   TEXT              -- a name that it gives and another file has
) WITHOUT ROWID, STRICT;

CREATE TABLE workflow (
    workflow  TEXT PRIMARY KEY,
    file      TEXT NOT NULL,
    digest    TEXT,             -- in force; NULL: its file is gone
    loaded_us INTEGER NOT NULL,
    paused_us INTEGER,
    paused_by TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID, STRICT;

CREATE TABLE trigger (
    workflow  TEXT NOT NULL,
    trigger   TEXT NOT NULL,
    cursor_us INTEGER NOT NULL, -- slots up to here are accounted for; at first the moment of the first load
    PRIMARY KEY (workflow, trigger)
) WITHOUT ROWID, STRICT;

CREATE TABLE run (
    run          INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice, not even after retention
    workflow     TEXT NOT NULL,
    digest       TEXT NOT NULL,
    state        TEXT NOT NULL,
    reason       TEXT,
    error        TEXT NOT NULL DEFAULT '',
    trigger      TEXT NOT NULL,
    params       BLOB NOT NULL,
    requested_by TEXT NOT NULL,
    key          TEXT NOT NULL DEFAULT '',
    rerun_of     INTEGER,
    scheduled_us INTEGER,
    created_us   INTEGER NOT NULL,
    started_us   INTEGER,
    ended_us     INTEGER,
    tasks_total  INTEGER NOT NULL
) STRICT;

CREATE INDEX run_of_workflow ON run (workflow, run);
CREATE INDEX run_live ON run (run) WHERE ended_us IS NULL;
CREATE INDEX run_by_state ON run (state, run) WHERE state IN ('failed', 'cancelled');
CREATE INDEX run_of_workflow_by_state ON run (workflow, state, run) WHERE state IN ('failed', 'cancelled');
CREATE INDEX run_ended ON run (ended_us) WHERE ended_us IS NOT NULL;
CREATE INDEX run_of_definition ON run (digest);
CREATE UNIQUE INDEX run_key ON run (workflow, key) WHERE key <> '';

CREATE TABLE task (             -- a task without a row is `waiting`
    run        INTEGER NOT NULL,
    n          INTEGER NOT NULL, -- its place in the definition
    task       TEXT NOT NULL,
    state      TEXT NOT NULL,
    reason     TEXT,
    error      TEXT NOT NULL DEFAULT '',
    attempts   INTEGER NOT NULL DEFAULT 0,
    retry_us   INTEGER,
    exit_code  INTEGER,          -- this and what follows: of the newest attempt
    signal     INTEGER,
    started_us INTEGER,
    ended_us   INTEGER,
    cpu_us     INTEGER,
    max_rss    INTEGER,
    PRIMARY KEY (run, n)
) WITHOUT ROWID, STRICT;

CREATE TABLE attempt (
    run        INTEGER NOT NULL,
    n          INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    state      TEXT NOT NULL,
    reason     TEXT,
    error      TEXT NOT NULL DEFAULT '',
    exit_code  INTEGER,
    signal     INTEGER,
    pid        INTEGER,
    epoch      TEXT NOT NULL,    -- the keeper's life that was asked to start it
    started_us INTEGER NOT NULL,
    ended_us   INTEGER,
    cpu_us     INTEGER,
    max_rss    INTEGER,
    leftovers  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, n, attempt)
) WITHOUT ROWID, STRICT;

CREATE TABLE sample (           -- what a live attempt was using
    run     INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at_us   INTEGER NOT NULL,
    cpu_us  INTEGER NOT NULL,
    rss     INTEGER NOT NULL,
    PRIMARY KEY (run, n, attempt, at_us)
) WITHOUT ROWID, STRICT;

CREATE TABLE event (
    event INTEGER PRIMARY KEY AUTOINCREMENT,
    run   INTEGER,              -- NULL: of the host, not of a run
    at_us INTEGER NOT NULL,
    body  BLOB NOT NULL         -- msgpack of events.StoredEvent
) STRICT;

CREATE INDEX event_of_run ON event (run, event) WHERE run IS NOT NULL;

CREATE TABLE slot (             -- one planned firing, one row (rule T1)
    workflow     TEXT NOT NULL,
    trigger      TEXT NOT NULL,
    scheduled_us INTEGER NOT NULL,
    fate         TEXT NOT NULL,
    reason       TEXT,
    run          INTEGER,       -- that it started; or, skipped for overlap, the live one
    PRIMARY KEY (workflow, trigger, scheduled_us)
) WITHOUT ROWID, STRICT;

CREATE INDEX slot_by_time ON slot (scheduled_us);
