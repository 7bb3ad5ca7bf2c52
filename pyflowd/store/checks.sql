-- name: check_runs
SELECT run, workflow, digest, state, reason, error, started_us, ended_us, section, outputs, tasks_total FROM run
ORDER BY run

-- name: check_tasks
SELECT n, task, state, reason, attempts, section, owner, item_key, position, outputs, facts FROM task WHERE run = ?

-- name: check_attempts
-- Of each node of a run: how many, and the state of the newest.
SELECT n, count(*), max(attempt), state FROM attempt WHERE run = ? GROUP BY n

-- name: check_cache
SELECT n, task, item, key, recipe FROM cache WHERE run = ?

-- name: check_artifacts
SELECT n, name, size, sha256, origin, folder FROM artifact WHERE run = ?

-- name: check_definitions
SELECT digest, text, compiled FROM definition

-- name: check_stray_runs
-- Runs of definitions that are not there.
SELECT run, digest FROM run WHERE digest NOT IN (SELECT digest FROM definition)

-- name: check_stray_rows
-- Rows of runs that are not there, by table.
SELECT 'task', run, count(*) FROM task WHERE run NOT IN (SELECT run FROM run) GROUP BY run
UNION ALL SELECT 'attempt', run, count(*) FROM attempt WHERE run NOT IN (SELECT run FROM run) GROUP BY run
UNION ALL SELECT 'event', run, count(*) FROM event WHERE run IS NOT NULL AND run NOT IN (SELECT run FROM run) GROUP BY run
UNION ALL SELECT 'sample', run, count(*) FROM sample WHERE run NOT IN (SELECT run FROM run) GROUP BY run
UNION ALL SELECT 'artifact', run, count(*) FROM artifact WHERE run NOT IN (SELECT run FROM run) GROUP BY run
UNION ALL SELECT 'cache', run, count(*) FROM cache WHERE run NOT IN (SELECT run FROM run) GROUP BY run
UNION ALL SELECT 'run_event', run, count(*) FROM run_event WHERE run NOT IN (SELECT run FROM run) GROUP BY run

-- name: check_stray_files
-- Files and workflows in force whose definition is not there.
SELECT 'file', file, digest FROM file WHERE digest IS NOT NULL AND digest NOT IN (SELECT digest FROM definition)
UNION ALL SELECT 'workflow', workflow, digest FROM workflow
WHERE digest IS NOT NULL AND digest NOT IN (SELECT digest FROM definition)

-- name: check_slots
-- Runs that more than one slot says it fired, and slots whose run is another workflow's.
SELECT 'twice', s.workflow, s.trigger, s.scheduled_us, s.run FROM slot s WHERE s.fate = 'fired' AND s.run IN
    (SELECT run FROM slot WHERE fate = 'fired' GROUP BY run HAVING count(*) > 1)
UNION ALL SELECT 'stranger', s.workflow, s.trigger, s.scheduled_us, s.run FROM slot s JOIN run r ON r.run = s.run
WHERE s.fate = 'fired' AND r.workflow <> s.workflow

-- name: check_slot_runs
-- Runs of the same slot of a schedule: a backfill is a second one by intent.
SELECT workflow, trigger, scheduled_us, count(*) FROM run
WHERE requested_by = 'schedule' AND scheduled_us IS NOT NULL AND parent IS NULL AND backfill IS NULL
GROUP BY workflow, trigger, scheduled_us HAVING count(*) > 1

-- name: check_host_events
SELECT event, body FROM event WHERE run IS NULL ORDER BY event

-- name: check_runs_known
SELECT run FROM run

-- name: counts
SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM event), (SELECT count(*) FROM slot),
    (SELECT count(*) FROM definition), (SELECT count(*) FROM workflow WHERE digest IS NOT NULL)
