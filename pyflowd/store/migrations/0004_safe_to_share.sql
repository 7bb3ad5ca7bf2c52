-- Successes that are used again.

CREATE TABLE cache (            -- what to look up is the primary key; the outputs are those of the task's row
    workflow   TEXT NOT NULL,
    task       TEXT NOT NULL,
    item       TEXT NOT NULL,    -- the item's own key; empty: it is none
    key        TEXT NOT NULL,    -- as its template came out
    recipe     TEXT NOT NULL,    -- hash of what the task ran
    run        INTEGER NOT NULL, -- whose success it is: it goes with that run
    n          INTEGER NOT NULL,
    made_us    INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    PRIMARY KEY (workflow, task, item, key)
) WITHOUT ROWID, STRICT;

CREATE INDEX cache_of_run ON cache (run);
CREATE INDEX cache_by_expiry ON cache (expires_us);

-- Definitions over time.

CREATE TABLE definition_change ( -- a text came into force, or a workflow went
    change   INTEGER PRIMARY KEY,
    workflow TEXT NOT NULL,
    at_us    INTEGER NOT NULL,
    what     TEXT NOT NULL,      -- changes.Change
    file     TEXT NOT NULL,
    digest   TEXT,               -- in force from then on; NULL: none
    detail   TEXT NOT NULL       -- which template or drop-ins, for people
) STRICT;

CREATE INDEX change_of_workflow ON definition_change (workflow, change);
CREATE INDEX change_of_digest ON definition_change (digest) WHERE digest IS NOT NULL;

INSERT INTO definition_change (workflow, at_us, what, file, digest, detail)
SELECT workflow, loaded_us, 'added', file, digest, '' FROM workflow WHERE digest IS NOT NULL ORDER BY loaded_us;
