-- Sections, items, outputs, artifacts, runs that are called by a task.

ALTER TABLE task ADD COLUMN section TEXT NOT NULL DEFAULT '';  -- model.Section
ALTER TABLE task ADD COLUMN owner INTEGER;                     -- of an item, an undoing, an on_error task: n of the task that it is for
ALTER TABLE task ADD COLUMN item_key TEXT;
ALTER TABLE task ADD COLUMN position INTEGER;                  -- of an item, in its list
ALTER TABLE task ADD COLUMN outputs BLOB;                      -- msgpack of a map; NULL: absent, or none
ALTER TABLE task ADD COLUMN facts BLOB;                        -- msgpack of a map: what its condition used

ALTER TABLE run ADD COLUMN parent INTEGER;                     -- the run that called this one
ALTER TABLE run ADD COLUMN parent_task TEXT;
ALTER TABLE run ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;   -- 0: called by no run
ALTER TABLE run ADD COLUMN section TEXT NOT NULL DEFAULT '';   -- which is at work, or was at the end
ALTER TABLE run ADD COLUMN outputs BLOB;

CREATE INDEX run_of_parent ON run (parent) WHERE parent IS NOT NULL;

CREATE TABLE artifact (         -- a file kept with the run
    run     INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    name    TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    size    INTEGER NOT NULL,
    sha256  TEXT NOT NULL,
    origin  INTEGER NOT NULL,   -- the run in whose folder it is: a rerun takes it over
    folder  TEXT NOT NULL,      -- the name of its task there
    PRIMARY KEY (run, n, name)
) WITHOUT ROWID, STRICT;
