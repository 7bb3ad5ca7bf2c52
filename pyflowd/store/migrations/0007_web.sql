-- Who has taken note of a run that failed.

ALTER TABLE run ADD COLUMN seen_by TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN seen_us INTEGER;

-- Tokens: who speaks through a program that has no rights of its own. The text of one is kept nowhere.

CREATE TABLE token (
    token      INTEGER PRIMARY KEY AUTOINCREMENT,
    hash       BLOB NOT NULL UNIQUE,  -- SHA-256 of its text
    sort       TEXT NOT NULL,         -- login, session, bearer
    uid        INTEGER NOT NULL,      -- of the account that it stands for
    account    TEXT NOT NULL,         -- its name, as it was then
    has_shell  INTEGER NOT NULL,      -- whether the account could log in then
    by_proxy   INTEGER NOT NULL,      -- a session that a proxy vouched for: never more than web_proxy_level
    level      INTEGER,               -- at most; NULL: all that the account may do
    label      TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    expires_us INTEGER,               -- NULL: never
    used_us    INTEGER                -- within a minute; NULL: never
) STRICT;

ALTER TABLE audit ADD COLUMN token INTEGER;  -- that it was asked with; NULL: the account asked by itself

-- The ledger of one workflow by time: a calendar asks for days out of months.

CREATE INDEX slot_of_workflow ON slot (workflow, scheduled_us);

-- What ended of late is counted for each page that tells of it: out of the index, without a look at the runs.

DROP INDEX run_ended;
CREATE INDEX run_ended ON run (state, ended_us, workflow) WHERE ended_us IS NOT NULL;
