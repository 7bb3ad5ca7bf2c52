-- name: meta
SELECT value FROM meta WHERE key = ?

-- name: last_run
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'run'), 0)

-- name: last_token
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'token'), 0)

-- name: tokens
SELECT token, hash, sort, uid, account, has_shell, by_proxy, level, label, created_us, expires_us, used_us FROM token
ORDER BY token

-- name: last_event
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0)

-- name: definition
SELECT text, compiled, seen_us FROM definition WHERE digest = ?

-- name: compiled
SELECT compiled FROM definition WHERE digest = ?

-- name: change_known
SELECT change FROM definition_change WHERE workflow = ? LIMIT 1

-- name: change_of_text
-- The newest that brought this text.
SELECT change, at_us, file FROM definition_change WHERE workflow = ? AND digest = ? ORDER BY change DESC LIMIT 1

-- name: changes
SELECT change, at_us, what, file, digest, detail FROM definition_change
WHERE workflow = ? AND change < ? ORDER BY change DESC LIMIT ?

-- name: change_before
-- The newest text but `?` of them; one that went and came back unchanged counts once.
SELECT digest FROM (
    SELECT change, digest, lag(digest) OVER (ORDER BY change DESC) AS newer
    FROM definition_change WHERE workflow = ? AND digest IS NOT NULL)
WHERE newer IS NOT digest ORDER BY change DESC LIMIT 1 OFFSET ?

-- name: digests_between
-- Of the texts of a workflow that were in force or run.
SELECT digest FROM definition_change WHERE workflow = ?1 AND digest >= ?2 AND digest < ?3
UNION SELECT digest FROM run WHERE workflow = ?1 AND digest >= ?2 AND digest < ?3

-- name: files
SELECT file, signature, workflow, digest, problems, claimed FROM file ORDER BY file

-- name: workflows
SELECT w.workflow, w.file, w.digest, w.loaded_us, w.paused_us, w.paused_by, d.compiled
FROM workflow w LEFT JOIN definition d USING (digest) ORDER BY w.workflow

-- name: triggers
SELECT workflow, trigger, cursor_us, anchor_us FROM trigger

-- name: live_runs
SELECT run, workflow, digest, trigger, params, requested_by, rerun_of, scheduled_us, created_us, parent, parent_task,
       depth, backfill
FROM run WHERE ended_us IS NULL ORDER BY run

-- name: events_of_run
SELECT body FROM event WHERE run = ? ORDER BY event

-- name: run
SELECT run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
       requested_by, rerun_of, digest, tasks_total, parent, parent_task, section, outputs, backfill,
       seen_by, seen_us
FROM run WHERE run = ?

-- name: called_runs
SELECT run, parent_task FROM run WHERE parent = ? ORDER BY run

-- name: run_end
SELECT workflow, state, error, outputs FROM run WHERE run = ? AND ended_us IS NOT NULL

-- name: artifacts
SELECT a.n, t.task, a.name, a.attempt, a.size, a.sha256, t.position
FROM artifact a JOIN task t ON t.run = a.run AND t.n = a.n
WHERE a.run = ? AND (a.n, a.name) > (?, ?) ORDER BY a.n, a.name LIMIT ?

-- name: artifact
SELECT a.origin, a.size, a.sha256, a.folder
FROM artifact a JOIN task t ON t.run = a.run AND t.n = a.n
WHERE a.run = ? AND t.task = ? AND a.name = ?

-- name: artifact_names
SELECT a.name FROM artifact a JOIN task t ON t.run = a.run AND t.n = a.n WHERE a.run = ? AND t.task = ? ORDER BY a.name

-- name: artifacts_between
SELECT n, name, size, sha256 FROM artifact WHERE run = ? AND n >= ? AND n < ? ORDER BY n, name

-- name: cached
SELECT c.run, c.n, c.recipe, c.made_us, c.expires_us, t.outputs
FROM cache c JOIN task t ON t.run = c.run AND t.n = c.n
WHERE c.workflow = ? AND c.task = ? AND c.item = ? AND c.key = ?

-- name: cached_artifacts
SELECT name, size, sha256, origin, folder FROM artifact WHERE run = ? AND n = ?

-- name: cache_entries
SELECT workflow, task, item, key, run, made_us, expires_us FROM cache
WHERE (workflow, task, item, key) > (?, ?, ?, ?) ORDER BY workflow, task, item, key LIMIT ?

-- name: cache_entries_of_workflow
SELECT workflow, task, item, key, run, made_us, expires_us FROM cache
WHERE workflow = ? AND (task, item, key) > (?, ?, ?) ORDER BY task, item, key LIMIT ?

-- name: cache_count
SELECT count(*) FROM cache WHERE workflow = ?

-- name: cache_count_of_task
SELECT count(*) FROM cache WHERE workflow = ? AND task = ?

-- name: cache_tasks
SELECT DISTINCT task FROM cache WHERE workflow = ?

-- name: run_of_key
SELECT run, params FROM run WHERE workflow = ? AND key = ?

-- name: recorded
-- What a run was to do: its first event.
SELECT r.rerun_of, r.digest, e.body FROM run r JOIN event e ON e.run = r.run WHERE r.run = ? ORDER BY e.event LIMIT 1

-- name: newest_run
SELECT max(run) FROM run WHERE workflow = ?

-- name: newest_runs
-- The newest run of each workflow in the list, by a seek of the index for each.
SELECT r.run, r.workflow, r.state, r.reason, r.error, r.trigger, r.params, r.created_us, r.started_us, r.ended_us,
       r.scheduled_us, r.requested_by, r.rerun_of, r.digest, r.tasks_total, r.parent, r.parent_task, r.section,
       NULL, r.backfill, r.seen_by, r.seen_us
FROM json_each(?) named JOIN run r ON r.run = (SELECT max(run) FROM run WHERE workflow = named.value)

-- name: runs
SELECT run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
       requested_by, rerun_of, digest, tasks_total, parent, parent_task, section, NULL, backfill,
       seen_by, seen_us
FROM run WHERE run < ? AND run >= ? AND created_us >= ? ORDER BY run DESC LIMIT ?

-- name: runs_of_workflow
SELECT run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
       requested_by, rerun_of, digest, tasks_total, parent, parent_task, section, NULL, backfill,
       seen_by, seen_us
FROM run WHERE workflow = ? AND run < ? AND run >= ? AND created_us >= ? ORDER BY run DESC LIMIT ?

-- name: runs_by_state
-- Each state by the index that knows it, so that a rare one is found among a million runs: those that went wrong have
-- one, so have those that live; what is left went well, as nearly all did.
SELECT run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
       requested_by, rerun_of, digest, tasks_total, parent, parent_task, section, NULL, backfill,
       seen_by, seen_us
FROM run WHERE run IN (
    SELECT * FROM (SELECT run FROM run INDEXED BY run_by_state WHERE state = ?1 AND state IN ('failed', 'cancelled')
        AND run < ?2 AND run >= ?3 AND created_us >= ?4 ORDER BY run DESC LIMIT ?5)
    UNION ALL SELECT run FROM run INDEXED BY run_live WHERE state = ?1 AND ended_us IS NULL
        AND run < ?2 AND run >= ?3 AND created_us >= ?4
    UNION ALL SELECT * FROM (SELECT run FROM run WHERE ?1 = 'succeeded' AND state = ?1
        AND run < ?2 AND run >= ?3 AND created_us >= ?4 ORDER BY run DESC LIMIT ?5))
ORDER BY run DESC LIMIT ?5

-- name: runs_of_workflow_by_state
SELECT run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
       requested_by, rerun_of, digest, tasks_total, parent, parent_task, section, NULL, backfill,
       seen_by, seen_us
FROM run WHERE run IN (
    SELECT * FROM (SELECT run FROM run INDEXED BY run_of_workflow_by_state
        WHERE workflow = ?1 AND state = ?2 AND state IN ('failed', 'cancelled')
        AND run < ?3 AND run >= ?4 AND created_us >= ?5 ORDER BY run DESC LIMIT ?6)
    UNION ALL SELECT run FROM run INDEXED BY run_live WHERE workflow = ?1 AND state = ?2 AND ended_us IS NULL
        AND run < ?3 AND run >= ?4 AND created_us >= ?5
    UNION ALL SELECT * FROM (SELECT run FROM run WHERE workflow = ?1 AND ?2 = 'succeeded' AND state = ?2
        AND run < ?3 AND run >= ?4 AND created_us >= ?5 ORDER BY run DESC LIMIT ?6))
ORDER BY run DESC LIMIT ?6

-- name: tasks
SELECT n, task, state, reason, error, attempts, retry_us, exit_code, signal, started_us, ended_us, cpu_us, max_rss,
       owner, item_key, position, outputs, facts
FROM task WHERE run = ? AND n >= ? ORDER BY n LIMIT ?

-- name: tasks_between
SELECT n, task, state, reason, error, attempts, retry_us, exit_code, signal, started_us, ended_us, cpu_us, max_rss,
       owner, item_key, position, outputs, facts
FROM task WHERE run = ? AND n >= ? AND n < ? ORDER BY n

-- name: tasks_in_state
SELECT n, task, state, reason, error, attempts, retry_us, exit_code, signal, started_us, ended_us, cpu_us, max_rss,
       owner, item_key, position, outputs, facts
FROM task WHERE run = ? AND n >= ? AND n < ? AND state = ? ORDER BY n LIMIT ?

-- name: undoings
SELECT n, task, state, reason, error, attempts, retry_us, exit_code, signal, started_us, ended_us, cpu_us, max_rss,
       owner, item_key, position, outputs, facts
FROM task WHERE run = ? AND n >= ? AND section = 'undo' ORDER BY n

-- name: task_of_n
SELECT task FROM task WHERE run = ? AND n = ?

-- name: item_counts
-- Of each fan-out that has been expanded: its items by state, and the first of them; they stand one after the other.
SELECT owner, state, count(*), min(n), min(started_us), max(ended_us), sum(cpu_us) FROM task
WHERE run = ? AND position IS NOT NULL AND section <> 'undo' GROUP BY owner, state

-- name: attempts_by_begin
SELECT t.task, t.position, t.state, t.attempts, a.attempt, a.ended_us IS NULL
FROM attempt a JOIN task t ON t.run = a.run AND t.n = a.n
WHERE a.run = ? ORDER BY a.started_us, a.n, a.attempt

-- name: attempts_of_task_by_begin
-- Of a task with its items: a name holds no bracket, and after `[` comes `\`.
SELECT t.task, t.position, t.state, t.attempts, a.attempt, a.ended_us IS NULL
FROM attempt a JOIN task t ON t.run = a.run AND t.n = a.n
WHERE a.run = ?1 AND (t.task = ?2 OR (t.task > ?2 || '[' AND t.task < ?2 || '\')) ORDER BY a.started_us, a.n, a.attempt

-- name: passes
-- Of a `repeat`: a pass is over when an attempt has succeeded.
SELECT count(*), coalesce(max(attempt), 0) FROM attempt WHERE run = ? AND n = ? AND state = 'succeeded'

-- name: places
SELECT task, position FROM task WHERE run = ? AND position IS NOT NULL

-- name: task_states
SELECT task, state, section, owner, item_key, outputs, n FROM task WHERE run = ? ORDER BY n

-- name: task_counts
-- Of the tasks proper: they are the first so many.
SELECT state, count(*) FROM task WHERE run = ? AND n < ? GROUP BY state

-- name: newest_slot_of_all
SELECT max(scheduled_us) FROM slot

-- name: newest_slot
SELECT max(scheduled_us) FROM slot WHERE workflow = ? AND trigger = ?

-- name: slots
SELECT workflow, trigger, scheduled_us, fate, reason, run, detail FROM slot
WHERE (scheduled_us, workflow, trigger) > (?, ?, ?) AND scheduled_us < ?
ORDER BY scheduled_us, workflow, trigger LIMIT ?

-- name: slots_of_workflow
SELECT workflow, trigger, scheduled_us, fate, reason, run, detail FROM slot
WHERE workflow = ? AND (scheduled_us, workflow, trigger) > (?, ?, ?) AND scheduled_us < ?
ORDER BY scheduled_us, workflow, trigger LIMIT ?

-- name: slots_before
-- The newest before one, and not before an instant.
SELECT workflow, trigger, scheduled_us, fate FROM slot
WHERE (scheduled_us, workflow, trigger) < (?, ?, ?) AND scheduled_us >= ?
ORDER BY scheduled_us DESC, workflow DESC, trigger DESC LIMIT ?

-- name: slots_before_of_workflow
SELECT workflow, trigger, scheduled_us, fate FROM slot
WHERE workflow = ? AND (scheduled_us, workflow, trigger) < (?, ?, ?) AND scheduled_us >= ?
ORDER BY scheduled_us DESC, workflow DESC, trigger DESC LIMIT ?

-- name: slots_before_seen
SELECT workflow, trigger, scheduled_us, fate FROM slot
WHERE (workflow IN (SELECT value FROM json_each(?1))) = ?2 AND (scheduled_us, workflow, trigger) < (?3, ?4, ?5)
    AND scheduled_us >= ?6
ORDER BY scheduled_us DESC, workflow DESC, trigger DESC LIMIT ?7

-- name: slot_of_workflow
SELECT 1 FROM slot WHERE workflow = ? LIMIT 1

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
-- Out of the index alone, a state after the other.
SELECT state, count(*) FROM run WHERE state IN ('succeeded', 'failed', 'cancelled') AND ended_us >= ? GROUP BY state

-- name: ended_runs_before
SELECT run FROM run WHERE workflow = ? AND ended_us IS NOT NULL AND created_us < ? ORDER BY run LIMIT ?

-- name: ended_runs
SELECT run FROM run WHERE workflow = ? AND ended_us IS NOT NULL ORDER BY run DESC

-- name: run_workflows
SELECT workflow FROM run UNION SELECT workflow FROM workflow

-- name: runs_for_check
SELECT run, digest, state, reason, tasks_total FROM run ORDER BY run

-- name: last_notification
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'notification'), 0)

-- name: notifications_waiting
SELECT notification, channel, next_us FROM notification WHERE state = 'waiting' ORDER BY notification

-- name: notification_waiting
SELECT body, tries FROM notification WHERE notification = ? AND state = 'waiting'

-- name: notifications_lost
SELECT channel, count(*) FROM notification
WHERE state IN ('given_up', 'dropped') AND ended_us >= ? GROUP BY channel

-- name: notification
SELECT notification, channel, state, body, created_us, tries, next_us, ended_us, error FROM notification
WHERE notification = ?

-- name: task_named
SELECT n, task, state, reason, error, attempts, retry_us, exit_code, signal, started_us, ended_us, cpu_us, max_rss,
       owner, item_key, position, outputs, facts
FROM task WHERE run = ? AND task = ?

-- name: attempts_of_task
-- The newest so many.
SELECT attempt, state, reason, error, exit_code, signal, started_us, ended_us FROM attempt
WHERE run = ? AND n = ? ORDER BY attempt DESC LIMIT ?

-- name: run_events_with
-- The newest so many whose body holds these bytes.
SELECT event, run, at_us, body FROM event WHERE run = ? AND instr(body, ?) > 0 ORDER BY event DESC LIMIT ?

-- name: host_events_with
-- The same of the host, from before an instant; the condition is that of an index.
SELECT event, run, at_us, body FROM event
WHERE run IS NULL AND at_us <= ? AND instr(body, ?) > 0 ORDER BY event DESC LIMIT ?

-- name: slots_at
-- Of all triggers of a workflow, within a span.
SELECT workflow, trigger, scheduled_us, fate, reason, run, detail FROM slot
WHERE workflow = ? AND scheduled_us >= ? AND scheduled_us < ? ORDER BY scheduled_us, trigger LIMIT ?

-- name: slot_triggers
SELECT DISTINCT trigger FROM slot WHERE workflow = ?

-- name: last_slot_before
SELECT workflow, trigger, scheduled_us, fate, reason, run, detail FROM slot
WHERE workflow = ? AND trigger = ? AND scheduled_us < ? ORDER BY scheduled_us DESC LIMIT 1

-- name: first_slot_after
SELECT workflow, trigger, scheduled_us, fate, reason, run, detail FROM slot
WHERE workflow = ? AND trigger = ? AND scheduled_us > ? ORDER BY scheduled_us LIMIT 1

-- name: newest_skipped_slot
SELECT workflow, trigger, scheduled_us, fate, reason, run, detail FROM slot
WHERE workflow = ? AND fate = 'skipped' ORDER BY scheduled_us DESC LIMIT 1

-- name: firing
SELECT fate, reason, run, error FROM firing WHERE workflow = ? AND trigger = ? AND key = ?

-- name: firing_keys
-- Of one trigger, oldest first: the last one about a file says what is known of it.
SELECT key FROM firing WHERE workflow = ? AND trigger = ? ORDER BY at_us

-- name: firing_keys_before
SELECT key FROM firing WHERE workflow = ? AND trigger = ? AND key > ? AND at_us < ? AND expires_us IS NULL
ORDER BY key LIMIT ?

-- name: firing_triggers
SELECT DISTINCT workflow, trigger FROM firing WHERE expires_us IS NULL

-- name: firings
SELECT workflow, trigger, key, at_us, fate, reason, run, summary, error FROM firing
WHERE (at_us, workflow, trigger, key) > (?, ?, ?, ?) ORDER BY at_us, workflow, trigger, key LIMIT ? OFFSET ?

-- name: firings_of_workflow
SELECT workflow, trigger, key, at_us, fate, reason, run, summary, error FROM firing
WHERE workflow = ? AND (at_us, workflow, trigger, key) > (?, ?, ?, ?)
ORDER BY at_us, workflow, trigger, key LIMIT ? OFFSET ?

-- name: firings_count
SELECT count(*) FROM firing WHERE at_us >= ?

-- name: firings_count_of_workflow
SELECT count(*) FROM firing WHERE workflow = ? AND at_us >= ?

-- name: newest_firing
-- Of a trigger.
SELECT key, at_us, fate, reason, run, summary, error FROM firing WHERE workflow = ? AND trigger = ?
ORDER BY at_us DESC LIMIT 1

-- name: event_triggers
SELECT workflow, trigger, spec, since_us, known FROM event_trigger

-- name: claims
SELECT workflow, trigger, key, source, target FROM claim ORDER BY workflow, trigger, key

-- name: run_event
SELECT body FROM run_event WHERE run = ?

-- name: last_backfill
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'backfill'), 0)

-- name: backfill
SELECT backfill, workflow, trigger, from_us, until_us, params, parallel, newest_first, only_missing, requested_by,
       created_us, total, recorded, succeeded, failed, cancelled, refused, error, cancelled_by, ended_us
FROM backfill WHERE backfill = ?

-- name: backfills
-- The newest so many.
SELECT backfill, workflow, trigger, from_us, until_us, params, parallel, newest_first, only_missing, requested_by,
       created_us, total, recorded, succeeded, failed, cancelled, refused, error, cancelled_by, ended_us
FROM backfill ORDER BY backfill DESC LIMIT ?

-- name: backfills_open
SELECT backfill FROM backfill WHERE ended_us IS NULL ORDER BY backfill

-- name: backfill_next
SELECT scheduled_us FROM backfill_slot WHERE backfill = ? AND scheduled_us > ? ORDER BY scheduled_us LIMIT 1

-- name: backfill_next_newest
SELECT scheduled_us FROM backfill_slot WHERE backfill = ? AND scheduled_us < ? ORDER BY scheduled_us DESC LIMIT 1

-- name: slots_done
-- Slots with a run that has succeeded, or may yet; a rerun stands for the run that it repeats.
SELECT DISTINCT coalesce(r.scheduled_us, first.scheduled_us)
FROM run r LEFT JOIN run first ON first.run = r.rerun_of
WHERE r.workflow = ?1 AND r.parent IS NULL AND coalesce(r.scheduled_us, first.scheduled_us) BETWEEN ?3 AND ?4
    AND CASE WHEN r.scheduled_us IS NULL THEN first.trigger ELSE r.trigger END = ?2
    AND r.state IN ('succeeded', 'queued', 'running')

-- name: slots_between
-- Of one trigger.
SELECT scheduled_us, fate, reason, run FROM slot
WHERE workflow = ? AND trigger = ? AND scheduled_us > ? AND scheduled_us <= ? ORDER BY scheduled_us

-- name: slot_before
-- The newest of one trigger within a span.
SELECT scheduled_us, fate, reason, run FROM slot
WHERE workflow = ? AND trigger = ? AND scheduled_us >= ? AND scheduled_us < ? ORDER BY scheduled_us DESC LIMIT 1

-- name: runs_since
-- Of one workflow: one that is named, and of its newest hundred those from then on, of a backfill by their slots.
SELECT run, state, since_us, started_us, ended_us FROM (
    SELECT run, state, CASE WHEN backfill IS NULL THEN created_us ELSE scheduled_us END AS since_us, started_us, ended_us
    FROM run WHERE workflow = ?1 ORDER BY run DESC LIMIT 100)
WHERE since_us >= ?3 AND run <> ?2
UNION ALL SELECT run, state, max(created_us, ?3), started_us, ended_us FROM run WHERE run = ?2 AND workflow = ?1

-- name: expectations_open
SELECT workflow, sort, trigger, subject, missed_us, run, text FROM expectation WHERE met_us IS NULL ORDER BY missed_us

-- name: expectation_known
SELECT 1 FROM expectation WHERE workflow = ? AND sort = ? AND trigger = ? AND subject = ?

-- name: expectation_cursors
SELECT workflow, cursor_us FROM expectation_cursor

-- name: task_times
-- Of the newest so many runs of a workflow that ended: what its tasks took.
SELECT t.run, t.task, t.position, t.ended_us - t.started_us, t.state = 'succeeded' FROM task t
WHERE t.run IN (SELECT run FROM run WHERE workflow = ? AND ended_us IS NOT NULL ORDER BY run DESC LIMIT ?)
  AND t.started_us IS NOT NULL AND t.ended_us IS NOT NULL
LIMIT ?

-- name: states_of_tasks
-- Of the tasks of the definition: they are the first so many.
SELECT task, state FROM task WHERE run = ? AND n < ?

-- name: rights
SELECT workflow, visible_to, operate_by FROM rights

-- name: workflow_of_run
SELECT workflow FROM run WHERE run = ?

-- name: runs_seen
-- Of the workflows in the list ?1: of each the newest, of those the newest.
SELECT r.run, r.workflow, r.state, r.reason, r.error, r.trigger, r.params, r.created_us, r.started_us, r.ended_us,
       r.scheduled_us, r.requested_by, r.rerun_of, r.digest, r.tasks_total, r.parent, r.parent_task, r.section, NULL,
       r.backfill, r.seen_by, r.seen_us
FROM json_each(?1) seen JOIN run r ON r.run IN (
    SELECT run FROM run WHERE workflow = seen.value AND run < ?2 AND run >= ?3 AND created_us >= ?4
    ORDER BY run DESC LIMIT ?5)
ORDER BY r.run DESC LIMIT ?5

-- name: runs_seen_by_state
SELECT r.run, r.workflow, r.state, r.reason, r.error, r.trigger, r.params, r.created_us, r.started_us, r.ended_us,
       r.scheduled_us, r.requested_by, r.rerun_of, r.digest, r.tasks_total, r.parent, r.parent_task, r.section, NULL,
       r.backfill, r.seen_by, r.seen_us
FROM json_each(?1) seen JOIN run r ON r.run IN (
    SELECT * FROM (SELECT run FROM run INDEXED BY run_of_workflow_by_state
        WHERE workflow = seen.value AND state = ?2 AND state IN ('failed', 'cancelled')
        AND run < ?3 AND run >= ?4 AND created_us >= ?5 ORDER BY run DESC LIMIT ?6)
    UNION ALL SELECT run FROM run INDEXED BY run_live WHERE workflow = seen.value AND state = ?2 AND ended_us IS NULL
        AND run < ?3 AND run >= ?4 AND created_us >= ?5
    UNION ALL SELECT * FROM (SELECT run FROM run WHERE workflow = seen.value AND ?2 = 'succeeded' AND state = ?2
        AND run < ?3 AND run >= ?4 AND created_us >= ?5 ORDER BY run DESC LIMIT ?6))
ORDER BY r.run DESC LIMIT ?6

-- name: failed_since
SELECT run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
       requested_by, rerun_of, digest, tasks_total, parent, parent_task, section, NULL, backfill,
       seen_by, seen_us
FROM run WHERE state = 'failed' AND ended_us >= ? ORDER BY run DESC LIMIT ?

-- name: failed_since_seen
-- Of the workflows that are (?2 = 1) or are not (0) in the list ?1, the newest so many.
SELECT run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
       requested_by, rerun_of, digest, tasks_total, parent, parent_task, section, NULL, backfill,
       seen_by, seen_us
FROM run WHERE (workflow IN (SELECT value FROM json_each(?1))) = ?2 AND ended_us >= ?3 AND state = 'failed'
ORDER BY run DESC LIMIT ?4

-- name: ended_since_seen
SELECT state, count(*) FROM run
WHERE state IN ('succeeded', 'failed', 'cancelled') AND ended_us >= ?3
    AND (workflow IN (SELECT value FROM json_each(?1))) = ?2 GROUP BY state

-- name: slots_seen
SELECT workflow, trigger, scheduled_us, fate, reason, run, detail FROM slot
WHERE (workflow IN (SELECT value FROM json_each(?1))) = ?2 AND (scheduled_us, workflow, trigger) > (?3, ?4, ?5)
    AND scheduled_us < ?6
ORDER BY scheduled_us, workflow, trigger LIMIT ?7

-- name: firings_seen
SELECT workflow, trigger, key, at_us, fate, reason, run, summary, error FROM firing
WHERE (workflow IN (SELECT value FROM json_each(?1))) = ?2 AND (at_us, workflow, trigger, key) > (?3, ?4, ?5, ?6)
ORDER BY at_us, workflow, trigger, key LIMIT ?7 OFFSET ?8

-- name: firings_count_seen
SELECT count(*) FROM firing WHERE (workflow IN (SELECT value FROM json_each(?1))) = ?2 AND at_us >= ?3

-- name: cache_entries_seen
SELECT workflow, task, item, key, run, made_us, expires_us FROM cache
WHERE (workflow IN (SELECT value FROM json_each(?1))) = ?2 AND (workflow, task, item, key) > (?3, ?4, ?5, ?6)
ORDER BY workflow, task, item, key LIMIT ?7

-- name: backfills_seen
SELECT backfill, workflow, trigger, from_us, until_us, params, parallel, newest_first, only_missing, requested_by,
       created_us, total, recorded, succeeded, failed, cancelled, refused, error, cancelled_by, ended_us
FROM backfill WHERE (workflow IN (SELECT value FROM json_each(?1))) = ?2 ORDER BY backfill DESC LIMIT ?3

-- name: notifications_before
SELECT notification, channel, state, body, created_us, tries, next_us, ended_us, error FROM notification
WHERE notification < ? ORDER BY notification DESC LIMIT ?

-- name: events_before
-- With the workflow of a run's event; a body only where there is no run.
SELECT e.event, e.run, r.workflow, CASE WHEN e.run IS NULL THEN e.body END
FROM event e LEFT JOIN run r ON r.run = e.run WHERE e.event < ? ORDER BY e.event DESC LIMIT ?

-- name: audit
SELECT audit, at_us, user, uid, pid, request, workflow, run, asked, result, left_out, token FROM audit
WHERE audit < ?1 AND at_us >= ?2 ORDER BY audit DESC LIMIT ?3

-- name: audit_of_user
SELECT audit, at_us, user, uid, pid, request, workflow, run, asked, result, left_out, token FROM audit
WHERE user = ?4 AND audit < ?1 AND at_us >= ?2 ORDER BY audit DESC LIMIT ?3

-- name: audit_of_workflow
SELECT audit, at_us, user, uid, pid, request, workflow, run, asked, result, left_out, token FROM audit
WHERE workflow = ?4 AND audit < ?1 AND at_us >= ?2 ORDER BY audit DESC LIMIT ?3

-- name: audit_of_user_of_workflow
SELECT audit, at_us, user, uid, pid, request, workflow, run, asked, result, left_out, token FROM audit
WHERE user = ?4 AND workflow = ?5 AND audit < ?1 AND at_us >= ?2 ORDER BY audit DESC LIMIT ?3

-- name: outcomes
-- The newest runs of a workflow, in short.
SELECT run, state, reason, trigger, created_us, started_us, ended_us, scheduled_us FROM run
WHERE workflow = ? ORDER BY run DESC LIMIT ?

-- name: newest_success
-- Among the newest thousand runs of a workflow.
SELECT ended_us FROM (SELECT state, ended_us FROM run WHERE workflow = ? ORDER BY run DESC LIMIT 1000)
WHERE state = 'succeeded' LIMIT 1

-- name: grid_runs
SELECT run, state, reason, trigger, created_us, started_us, ended_us, scheduled_us, digest FROM run
WHERE workflow = ? AND run < ? ORDER BY run DESC LIMIT ?

-- name: grid_cells
-- Of the nodes of the definition, which are the first so many.
SELECT n, task, state, reason, exit_code, signal, attempts, started_us, ended_us FROM task
WHERE run = ?1 AND n < ?2 AND position IS NULL

-- name: grid_undoings
SELECT n, task, state, reason, exit_code, signal, attempts, started_us, ended_us FROM task
WHERE run = ?1 AND n >= ?2 AND section = 'undo' AND position IS NULL ORDER BY n

-- name: used_by_run
-- By its attempts: CPU time together, the greatest of their resident sizes.
SELECT sum(cpu_us), max(max_rss) FROM attempt WHERE run = ?

-- name: attempts_between
-- Of the nodes from one number up to another, in pieces.
SELECT a.n, a.attempt, t.task, t.section, t.owner, t.position, a.state, a.reason, a.exit_code, a.signal, a.error,
       a.started_us, a.ended_us, a.cpu_us, a.max_rss
FROM attempt a JOIN task t ON t.run = a.run AND t.n = a.n
WHERE a.run = ?1 AND (a.n, a.attempt) > (?2, ?3) AND a.n < ?4 ORDER BY a.n, a.attempt LIMIT ?5

-- name: retries_due
-- When back-offs were over, with these bytes in the body; some events at a time.
SELECT event, at_us, CASE WHEN instr(body, ?3) > 0 THEN body END FROM event
WHERE run = ?1 AND event > ?2 ORDER BY event LIMIT ?4

-- name: samples
SELECT at_us, cpu_us, rss FROM sample WHERE run = ? AND n = ? AND attempt = ? ORDER BY at_us

-- name: attempt_times
SELECT attempt, state, started_us, ended_us FROM attempt WHERE run = ? AND n = ? AND attempt = coalesce(?, attempt)
ORDER BY attempt DESC LIMIT 1

-- name: first_run_from
-- Of all workflows, from a number on.
SELECT run, created_us FROM run WHERE run >= ? ORDER BY run LIMIT 1

-- name: timeline_runs
-- The newest so many.
SELECT run, state, reason, trigger, created_us, started_us, ended_us, scheduled_us FROM run
WHERE workflow = ? AND run >= ? ORDER BY run DESC LIMIT ?

-- name: timeline_runs_before
-- Ended since then all the same, or live, of the newest few before.
SELECT run, state, reason, trigger, created_us, started_us, ended_us, scheduled_us FROM (
    SELECT * FROM run WHERE workflow = ?1 AND run < ?2 ORDER BY run DESC LIMIT 10
) WHERE coalesce(ended_us, ?3) >= ?3

-- name: timeline_failed
SELECT run, state, reason, trigger, created_us, started_us, ended_us, scheduled_us FROM run
WHERE workflow = ? AND state = 'failed' AND run >= ? ORDER BY run DESC LIMIT ?

-- name: timeline_bands
SELECT (coalesce(started_us, created_us) - ?3) / ?4 AS band, count(*), state, max(run) FROM run
WHERE workflow = ?1 AND run >= ?2 GROUP BY band, state ORDER BY band

-- name: timeline_skipped
SELECT scheduled_us, trigger, reason, run, detail FROM slot
WHERE workflow = ?1 AND fate = 'skipped' AND scheduled_us >= ?2 ORDER BY scheduled_us DESC LIMIT ?3

-- name: timeline_skipped_bands
SELECT (scheduled_us - ?2) / ?3 AS band, count(*) FROM slot
WHERE workflow = ?1 AND fate = 'skipped' AND scheduled_us >= ?2 GROUP BY band ORDER BY band
