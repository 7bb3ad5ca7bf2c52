-- name: event
INSERT INTO event (event, run, at_us, body) VALUES (?, ?, ?, ?)

-- name: meta
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value

-- name: run_create
INSERT INTO run (run, workflow, digest, state, trigger, params, requested_by, key, rerun_of, scheduled_us, created_us,
                 tasks_total, parent, parent_task, depth, backfill)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: run_state
UPDATE run SET state = ?, reason = ?, error = ?, started_us = ?, ended_us = ?, section = ?, outputs = ?
WHERE run = ? AND ended_us IS NULL

-- name: run_seen
UPDATE run SET seen_by = ?, seen_us = ? WHERE run = ?

-- name: task
INSERT INTO task (run, n, task, state, reason, error, attempts, retry_us, started_us, section, owner, item_key,
                  position, outputs, facts)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
ON CONFLICT (run, n) DO UPDATE SET state = ?4, reason = ?5, error = ?6, attempts = ?7, retry_us = ?8,
    started_us = coalesce(?9, started_us), outputs = ?14, facts = ?15

-- name: task_attempt_ended
INSERT INTO task (run, n, task, state, reason, error, attempts, retry_us, exit_code, signal, started_us, ended_us,
                  cpu_us, max_rss, section, owner, item_key, position, outputs, facts)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
ON CONFLICT (run, n) DO UPDATE SET state = ?4, reason = ?5, error = ?6, attempts = ?7, retry_us = ?8, exit_code = ?9,
    signal = ?10, started_us = ?11, ended_us = ?12, cpu_us = ?13, max_rss = ?14, outputs = ?19, facts = ?20

-- name: attempt_start
INSERT INTO attempt (run, n, attempt, state, epoch, started_us) VALUES (?, ?, ?, ?, ?, ?)

-- name: attempt_running
UPDATE attempt SET state = ?, pid = ?, started_us = ? WHERE run = ? AND n = ? AND attempt = ? AND state = 'starting'

-- name: attempt_end
UPDATE attempt SET state = ?, reason = ?, error = ?, exit_code = ?, signal = ?, started_us = coalesce(?, started_us),
    ended_us = ?, cpu_us = ?, max_rss = ?, leftovers = ?
WHERE run = ? AND n = ? AND attempt = ? AND ended_us IS NULL

-- name: sample
INSERT OR IGNORE INTO sample (run, n, attempt, at_us, cpu_us, rss) VALUES (?, ?, ?, ?, ?, ?)

-- name: definition
INSERT OR IGNORE INTO definition (digest, text, compiled, seen_us) VALUES (?, ?, ?, ?)

-- name: definition_mend
UPDATE definition SET compiled = ? WHERE digest = ?

-- name: definition_change
INSERT INTO definition_change (workflow, at_us, what, file, digest, detail) VALUES (?, ?, ?, ?, ?, ?)

-- name: file
INSERT INTO file (file, signature, workflow, digest, problems, claimed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (file) DO UPDATE SET signature = ?2, workflow = ?3, digest = ?4, problems = ?5, claimed = ?6

-- name: workflow_file
UPDATE workflow SET file = ? WHERE workflow = ?

-- name: file_remove
DELETE FROM file WHERE file = ?

-- name: workflow
INSERT INTO workflow (workflow, file, digest, loaded_us) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (workflow) DO UPDATE SET file = ?2, digest = ?3, loaded_us = ?4

-- name: workflow_remove
UPDATE workflow SET digest = NULL WHERE workflow = ?

-- name: workflow_pause
UPDATE workflow SET paused_us = ?, paused_by = ? WHERE workflow = ?

-- name: trigger
-- The cursor never goes back: a clock that does fires nothing twice.
INSERT INTO trigger (workflow, trigger, cursor_us) VALUES (?1, ?2, ?3)
ON CONFLICT (workflow, trigger) DO UPDATE SET cursor_us = max(cursor_us, ?3)

-- name: trigger_anchor
UPDATE trigger SET anchor_us = ? WHERE workflow = ? AND trigger = ?

-- name: trigger_remove
DELETE FROM trigger WHERE workflow = ? AND trigger = ?

-- name: slot
INSERT INTO slot (workflow, trigger, scheduled_us, fate, reason, run, detail) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: artifact
INSERT INTO artifact (run, n, name, attempt, size, sha256, origin, folder) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (run, n, name) DO UPDATE SET attempt = ?4, size = ?5, sha256 = ?6, origin = ?7, folder = ?8

-- name: cache
INSERT INTO cache (workflow, task, item, key, recipe, run, n, made_us, expires_us)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (workflow, task, item, key) DO UPDATE SET recipe = ?5, run = ?6, n = ?7, made_us = ?8, expires_us = ?9

-- name: cache_clear
DELETE FROM cache WHERE workflow = ?

-- name: cache_clear_task
DELETE FROM cache WHERE workflow = ? AND task = ?

-- name: prune_cache
DELETE FROM cache WHERE run = ?

-- name: prune_cache_expired
DELETE FROM cache WHERE expires_us < ?

-- name: prune_artifacts
DELETE FROM artifact WHERE run = ?

-- name: prune_samples
DELETE FROM sample WHERE run = ?

-- name: prune_attempts
DELETE FROM attempt WHERE run = ?

-- name: prune_tasks
DELETE FROM task WHERE run = ?

-- name: prune_events
DELETE FROM event WHERE run = ?

-- name: prune_run
DELETE FROM run WHERE run = ? AND ended_us IS NOT NULL

-- name: prune_slots
DELETE FROM slot WHERE workflow = ? AND scheduled_us < ?

-- name: prune_host_events
DELETE FROM event WHERE run IS NULL AND at_us < ?

-- name: prune_changes
-- The newest 100 of each workflow stay, whatever their age.
DELETE FROM definition_change WHERE at_us < ? AND 100 <= (
    SELECT count(*) FROM definition_change newer
    WHERE newer.workflow = definition_change.workflow AND newer.change > definition_change.change)

-- name: prune_definitions
DELETE FROM definition WHERE digest NOT IN (SELECT digest FROM run)
    AND digest NOT IN (SELECT digest FROM workflow WHERE digest IS NOT NULL)
    AND digest NOT IN (SELECT digest FROM file WHERE digest IS NOT NULL)
    AND digest NOT IN (SELECT digest FROM definition_change WHERE digest IS NOT NULL)

-- name: notification
INSERT INTO notification (notification, channel, state, body, created_us, next_us, ended_us, error)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: notification_again
UPDATE notification SET tries = ?, next_us = ?, error = ?, body = ? WHERE notification = ? AND state = 'waiting'

-- name: notification_end
UPDATE notification SET state = ?, tries = ?, next_us = NULL, ended_us = ?, error = ?
WHERE notification = ? AND state = 'waiting'

-- name: prune_notifications
DELETE FROM notification WHERE ended_us < ?

-- name: firing
INSERT INTO firing (workflow, trigger, key, at_us, fate, reason, run, summary, error, expires_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: prune_firing
DELETE FROM firing WHERE workflow = ? AND trigger = ? AND key = ?

-- name: prune_firings_expired
DELETE FROM firing WHERE expires_us < ?

-- name: event_trigger
INSERT INTO event_trigger (workflow, trigger, spec, since_us) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (workflow, trigger) DO UPDATE SET spec = ?3, since_us = ?4, known = NULL

-- name: event_trigger_known
UPDATE event_trigger SET known = ? WHERE workflow = ? AND trigger = ?

-- name: event_trigger_since
UPDATE event_trigger SET since_us = ? WHERE workflow = ? AND trigger = ?

-- name: event_trigger_remove
DELETE FROM event_trigger WHERE workflow = ? AND trigger = ?

-- name: claim
INSERT INTO claim (workflow, trigger, key, source, target) VALUES (?, ?, ?, ?, ?)

-- name: claim_remove
DELETE FROM claim WHERE workflow = ? AND trigger = ? AND key = ?

-- name: run_event
INSERT INTO run_event (run, body) VALUES (?, ?)

-- name: prune_run_event
DELETE FROM run_event WHERE run = ?

-- name: backfill
INSERT INTO backfill (backfill, workflow, trigger, from_us, until_us, params, parallel, newest_first, only_missing,
                      requested_by, created_us, total)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: backfill_slots
INSERT INTO backfill_slot (backfill, scheduled_us) SELECT ?, value FROM json_each(?)

-- name: backfill_recorded
UPDATE backfill SET recorded = recorded + 1 WHERE backfill = ?

-- name: backfill_refused
UPDATE backfill SET refused = refused + 1, error = ? WHERE backfill = ?

-- name: backfill_slot_taken
DELETE FROM backfill_slot WHERE backfill = ? AND scheduled_us = ?

-- name: backfill_run_ended
UPDATE backfill SET succeeded = succeeded + ?, failed = failed + ?, cancelled = cancelled + ? WHERE backfill = ?

-- name: backfill_cancelled
UPDATE backfill SET cancelled_by = ? WHERE backfill = ? AND ended_us IS NULL

-- name: backfill_slots_dropped
DELETE FROM backfill_slot WHERE backfill = ?

-- name: backfill_ended
UPDATE backfill SET ended_us = ? WHERE backfill = ? AND ended_us IS NULL

-- name: prune_backfills
DELETE FROM backfill WHERE ended_us < ?

-- name: expectation
INSERT OR IGNORE INTO expectation (workflow, sort, trigger, subject, missed_us, run, text, met_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: expectation_met
UPDATE expectation SET met_us = ?, run = coalesce(?, run)
WHERE workflow = ? AND sort = ? AND trigger = ? AND subject = ? AND met_us IS NULL

-- name: expectation_cursor
INSERT INTO expectation_cursor (workflow, cursor_us) VALUES (?1, ?2)
ON CONFLICT (workflow) DO UPDATE SET cursor_us = ?2

-- name: expectation_forget
DELETE FROM expectation_cursor WHERE workflow = ?

-- name: prune_expectations
DELETE FROM expectation WHERE missed_us < ?

-- name: rights
INSERT INTO rights (workflow, visible_to, operate_by) VALUES (?, ?, ?)
ON CONFLICT (workflow) DO UPDATE SET visible_to = excluded.visible_to, operate_by = excluded.operate_by

-- name: rights_remove
DELETE FROM rights WHERE workflow = ?

-- name: audit
INSERT INTO audit (at_us, uid, user, pid, request, workflow, run, asked, token, result, left_out)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: prune_audit
-- The oldest so many of those before an instant: a clean-up of years delays nothing.
DELETE FROM audit WHERE audit IN (SELECT audit FROM audit WHERE at_us < ? ORDER BY at_us LIMIT ?)

-- name: token
INSERT INTO token (token, hash, sort, uid, account, has_shell, by_proxy, level, label, created_us, expires_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: token_used
UPDATE token SET used_us = ? WHERE token = ?

-- name: token_remove
DELETE FROM token WHERE token = ?

-- name: restored_tokens
-- Some of them may have been revoked since the backup.
DELETE FROM token

-- name: meta_remove
DELETE FROM meta WHERE key = ?

-- name: restored_run_sequence
-- Numbers that may have been given since the backup are not given again.
UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'run'

-- name: restored_notifications
UPDATE notification SET state = 'dropped', next_us = NULL, ended_us = ?, error = ? WHERE state = 'waiting'

-- name: restored_event_triggers
-- What is there by now does not fire.
UPDATE event_trigger SET since_us = ?, known = NULL

-- name: restored_claims
DELETE FROM claim

-- name: restored_expectations
UPDATE expectation_cursor SET cursor_us = max(cursor_us, ?)

-- name: restored_backfill_slots
DELETE FROM backfill_slot

-- name: restored_backfills
UPDATE backfill SET cancelled_by = ?, ended_us = ? WHERE ended_us IS NULL
