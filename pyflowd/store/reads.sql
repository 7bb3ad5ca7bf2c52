-- name: meta
SELECT value FROM meta WHERE key = ?

-- name: last_run
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'run'), 0)

-- name: last_event
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0)

-- name: definition
SELECT text, compiled, seen_us FROM definition WHERE digest = ?

-- name: compiled
SELECT compiled FROM definition WHERE digest = ?

-- name: files
SELECT file, signature, workflow, digest, problems, claimed FROM file ORDER BY file

-- name: workflows
SELECT w.workflow, w.file, w.digest, w.loaded_us, w.paused_us, w.paused_by, d.compiled
FROM workflow w LEFT JOIN definition d USING (digest) ORDER BY w.workflow

-- name: triggers
SELECT workflow, trigger, cursor_us FROM trigger

-- name: live_runs
SELECT run, workflow, digest, trigger, params, requested_by, rerun_of, scheduled_us, created_us
FROM run WHERE ended_us IS NULL ORDER BY run

-- name: events_of_run
SELECT body FROM event WHERE run = ? ORDER BY event

-- name: run
SELECT run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
       requested_by, rerun_of, digest, tasks_total
FROM run WHERE run = ?

-- name: run_of_key
SELECT run, params FROM run WHERE workflow = ? AND key = ?

-- name: newest_run
SELECT max(run) FROM run WHERE workflow = ?

-- name: newest_runs
-- The newest run of each workflow, by a seek of the index for each.
SELECT r.run, r.workflow, r.state, r.reason, r.error, r.trigger, r.params, r.created_us, r.started_us, r.ended_us,
       r.scheduled_us, r.requested_by, r.rerun_of, r.digest, r.tasks_total
FROM workflow w JOIN run r ON r.run = (SELECT max(run) FROM run WHERE workflow = w.workflow)

-- name: runs
SELECT run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
       requested_by, rerun_of, digest, tasks_total
FROM run WHERE run < ? AND created_us >= ? ORDER BY run DESC LIMIT ?

-- name: runs_of_workflow
SELECT run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
       requested_by, rerun_of, digest, tasks_total
FROM run WHERE workflow = ? AND run < ? AND created_us >= ? ORDER BY run DESC LIMIT ?

-- name: runs_by_state
SELECT run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
       requested_by, rerun_of, digest, tasks_total
FROM run WHERE state = ? AND run < ? AND created_us >= ? ORDER BY run DESC LIMIT ?

-- name: runs_of_workflow_by_state
SELECT run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
       requested_by, rerun_of, digest, tasks_total
FROM run WHERE workflow = ? AND state = ? AND run < ? AND created_us >= ? ORDER BY run DESC LIMIT ?

-- name: tasks
SELECT n, task, state, reason, error, attempts, retry_us, exit_code, signal, started_us, ended_us, cpu_us, max_rss
FROM task WHERE run = ? AND n >= ? ORDER BY n LIMIT ?

-- name: task_states
SELECT task, state FROM task WHERE run = ? ORDER BY n

-- name: task_counts
SELECT state, count(*) FROM task WHERE run = ? GROUP BY state

-- name: open_attempts
SELECT t.task, a.attempt, a.epoch FROM attempt a JOIN task t ON t.run = a.run AND t.n = a.n
WHERE a.run = ? AND a.ended_us IS NULL

-- name: newest_slot
SELECT max(scheduled_us) FROM slot WHERE workflow = ? AND trigger = ?

-- name: slots
SELECT workflow, trigger, scheduled_us, fate, reason, run FROM slot
WHERE (scheduled_us, workflow, trigger) > (?, ?, ?) ORDER BY scheduled_us, workflow, trigger LIMIT ? OFFSET ?

-- name: slots_of_workflow
SELECT workflow, trigger, scheduled_us, fate, reason, run FROM slot
WHERE workflow = ? AND (scheduled_us, workflow, trigger) > (?, ?, ?)
ORDER BY scheduled_us, workflow, trigger LIMIT ? OFFSET ?

-- name: slots_count
SELECT count(*) FROM slot WHERE scheduled_us >= ?

-- name: slots_count_of_workflow
SELECT count(*) FROM slot WHERE workflow = ? AND scheduled_us >= ?

-- name: newest_event
-- The newest but `?` of them.
SELECT event FROM event ORDER BY event DESC LIMIT 1 OFFSET ?

-- name: newest_event_of_run
SELECT event FROM event WHERE run = ? ORDER BY event DESC LIMIT 1 OFFSET ?

-- name: events_after
SELECT event, run, at_us, body FROM event WHERE event > ? ORDER BY event LIMIT ?

-- name: events_of_run_after
SELECT event, run, at_us, body FROM event WHERE run = ? AND event > ? ORDER BY event LIMIT ?

-- name: ended_since
SELECT state, count(*) FROM run WHERE ended_us >= ? GROUP BY state

-- name: ended_runs_before
SELECT run FROM run WHERE workflow = ? AND ended_us IS NOT NULL AND created_us < ? ORDER BY run LIMIT ?

-- name: ended_runs
SELECT run FROM run WHERE workflow = ? AND ended_us IS NOT NULL ORDER BY run DESC

-- name: run_workflows
SELECT workflow FROM run UNION SELECT workflow FROM workflow

-- name: runs_for_check
SELECT run, digest, state, reason, tasks_total FROM run ORDER BY run
