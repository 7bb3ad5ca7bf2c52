-- Who may see and operate a workflow that names groups of its own; the newest definition decides, also when it is gone.

CREATE TABLE rights (
    workflow   TEXT PRIMARY KEY,
    visible_to TEXT NOT NULL,   -- names of Unix groups, with spaces between; empty: it says nothing
    operate_by TEXT NOT NULL
) WITHOUT ROWID, STRICT;

-- Who changed what: a row in the commit of the change, and for refusals. Only its age takes a row away.

CREATE TABLE audit (
    audit    INTEGER PRIMARY KEY AUTOINCREMENT,
    at_us    INTEGER NOT NULL,
    uid      INTEGER NOT NULL,
    user     TEXT NOT NULL,     -- its name, as it was then
    pid      INTEGER NOT NULL,
    request  TEXT NOT NULL,     -- the request's tag
    workflow TEXT NOT NULL,     -- empty: it was about none
    run      INTEGER,
    asked    TEXT NOT NULL,     -- JSON: what else the request said, but for what is secret
    result   TEXT NOT NULL,     -- done, forbidden
    left_out INTEGER NOT NULL   -- refusals that have no row of their own
) STRICT;

CREATE INDEX audit_by_user ON audit (user, audit);
CREATE INDEX audit_by_workflow ON audit (workflow, audit);
CREATE INDEX audit_by_time ON audit (at_us);

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'a record of the audit is never changed'); END;
