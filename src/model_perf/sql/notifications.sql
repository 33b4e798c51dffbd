-- Notifications: routed to channels, claimed for a lease, settled by the attempt that holds them.

-- name: list_due
-- $1 now: each channel that has something due and does not rest, and since when; '' = not routed. No rest is longer than a
-- day: what lies further came from a clock that was wrong
SELECT n.channel, min(n.run_after) AS due_since
FROM {schema}.model_notifications n
WHERE n.status = 'pending' AND n.run_after <= $1 AND NOT EXISTS (
    SELECT FROM {schema}.model_notification_channels c
    WHERE c.channel = n.channel AND c.rests_until > $1 AND c.rests_until <= $1 + interval '24 hours')
GROUP BY n.channel

-- name: drop_late
-- $1 what has been due since before, $2 reason
WITH dropped AS (
    UPDATE {schema}.model_notifications n
    SET status = 'dropped', lease_until = NULL, error_message = $2
    WHERE n.id IN (
        SELECT x.id FROM {schema}.model_notifications x
        WHERE x.status = 'pending' AND x.run_after < $1
        ORDER BY x.id FOR UPDATE SKIP LOCKED)
    RETURNING n.id
)
SELECT count(*) AS n FROM dropped

-- name: route
-- $1 channels, in order: a JSON array of channel, events, severities, model_types, alert_types (null = all); $2 now,
-- $3 limit. The row of the event becomes that of the first channel, the others get rows of their own. That a snoozed alert
-- opened waits until the snooze is over, and is dropped where the alert has been resolved or become worse meanwhile
WITH channels AS MATERIALIZED (
    SELECT c.channel, c.place, c.events, c.severities, c.model_types, c.alert_types
    FROM jsonb_to_recordset($1::text::jsonb) AS c (
        channel text, place integer, events text[], severities text[], model_types text[], alert_types text[])
), unrouted AS MATERIALIZED (
    SELECT n.id, n.event_id, n.run_after, n.created_at, n.error_message FROM {schema}.model_notifications n
    WHERE n.channel = '' AND n.status = 'pending' AND n.run_after <= $2
    ORDER BY n.run_after, n.event_id LIMIT $3 FOR UPDATE SKIP LOCKED
), facts AS MATERIALIZED (
    SELECT u.id, u.event_id, u.run_after, u.created_at, e.event, e.severity, a.model_type, a.alert_type,
        CASE WHEN s.is_snoozed AND e.event = 'opened' AND NOT a.is_resolved THEN a.snoozed_until END AS waits_until,
        s.is_snoozed OR s.has_waited AND (a.is_resolved OR a.severity <> e.severity) AS is_unwanted
    FROM unrouted u
    JOIN {schema}.model_alert_events e ON e.id = u.event_id
    JOIN {schema}.model_alerts a ON a.id = e.alert_id
    CROSS JOIN LATERAL (VALUES (
        coalesce(a.snoozed_until > $2, false) AND e.event <> 'escalated',
        coalesce(u.error_message = 'the alert is snoozed', false)
    )) AS s (is_snoozed, has_waited)
), wanted AS MATERIALIZED (
    SELECT f.id, f.event_id, f.run_after, f.created_at, c.channel,
        row_number() OVER (PARTITION BY f.id ORDER BY c.place) AS place
    FROM facts f
    JOIN channels c ON f.event = ANY (c.events) AND f.severity = ANY (c.severities)
        AND coalesce(f.model_type = ANY (c.model_types), true)
        AND coalesce(f.alert_type = ANY (c.alert_types), true)
    WHERE NOT f.is_unwanted
), settled AS (
    UPDATE {schema}.model_notifications n
    SET channel = coalesce(w.channel, ''),
        status = CASE WHEN w.channel IS NULL AND f.waits_until IS NULL THEN 'dropped' ELSE 'pending' END,
        run_after = coalesce(f.waits_until, n.run_after),
        error_message = CASE
            WHEN f.waits_until IS NOT NULL THEN 'the alert is snoozed'
            WHEN f.is_unwanted THEN 'the alert was snoozed'
            WHEN w.channel IS NULL THEN 'no channel takes it' END
    FROM facts f LEFT JOIN wanted w ON w.id = f.id AND w.place = 1
    WHERE n.id = f.id
    RETURNING n.status, n.channel
), added AS (
    INSERT INTO {schema}.model_notifications (event_id, channel, run_after, created_at)
    SELECT w.event_id, w.channel, w.run_after, w.created_at FROM wanted w WHERE w.place > 1
    RETURNING id
)
SELECT count(*) AS n_events, count(*) FILTER (WHERE s.status = 'dropped') AS n_dropped,
    count(*) FILTER (WHERE s.channel <> '') + (SELECT count(*) FROM added) AS n_routed
FROM settled s

-- name: claim
-- $1 channel, $2 now, $3 lease_until, $4 max_attempts, $5 limit. A lease that ran out counts as a failure: what ends
-- its process every time is given up some day
WITH due AS (
    SELECT x.id FROM {schema}.model_notifications x
    WHERE x.channel = $1 AND x.status = 'pending' AND x.run_after <= $2
    ORDER BY x.run_after, x.event_id LIMIT $5 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE {schema}.model_notifications n
    SET attempt = n.attempt + 1, lease_until = $3, run_after = $3,
        failures = n.failures + (n.lease_until IS NOT NULL)::integer,
        status = CASE WHEN n.lease_until IS NOT NULL AND n.failures + 1 >= $4 THEN 'dead' ELSE 'pending' END,
        error_message = CASE WHEN n.lease_until IS NOT NULL
            THEN 'the delivering process stopped in the middle' ELSE n.error_message END
    FROM due WHERE n.id = due.id
    RETURNING n.id, n.event_id, n.channel, n.attempt, n.failures, n.status
)
SELECT c.id, c.channel, c.attempt, c.failures, c.status = 'dead' AS is_dead, c.event_id, e.event, e.occurred_at,
    e.severity, e.actor, e.notes, e.details::text AS event_details, e.alert_id, a.alert_type, a.model_type,
    a.machine_id, a.model_id, a.model_version, a.alert_message, a.alert_timestamp, a.occurrences,
    a.alert_details::text AS alert_details, a.current_metric_value, a.threshold_value, a.baseline_metric_value,
    a.resolution
FROM claimed c
JOIN {schema}.model_alert_events e ON e.id = c.event_id
JOIN {schema}.model_alerts a ON a.id = e.alert_id
ORDER BY c.event_id

-- name: lock_channel
-- $1 channel, $2 now: by when what was sent is paid off; the row is held until the transaction ends
INSERT INTO {schema}.model_notification_channels AS c (channel, spent_until)
VALUES ($1, $2)
ON CONFLICT (channel) DO UPDATE SET channel = excluded.channel
RETURNING c.spent_until

-- name: spend
-- $1 channel, $2 spent_until
UPDATE {schema}.model_notification_channels SET spent_until = $2 WHERE channel = $1

-- name: rest
-- $1 channel, $2 until, $3 now
INSERT INTO {schema}.model_notification_channels AS c (channel, spent_until, rests_until)
VALUES ($1, $3, $2)
ON CONFLICT (channel) DO UPDATE
SET rests_until = CASE WHEN c.rests_until <= $3 + interval '24 hours'
    THEN greatest(c.rests_until, excluded.rests_until) ELSE excluded.rests_until END

-- name: mark_delivered
-- $1 ids, $2 their attempts, $3 now
UPDATE {schema}.model_notifications n
SET status = 'delivered', delivered_at = $3, lease_until = NULL, error_message = NULL
FROM (
    SELECT x.id FROM {schema}.model_notifications x
    JOIN unnest($1::text[]::uuid[], $2::text[]::integer[]) AS h (id, attempt) ON x.id = h.id AND x.attempt = h.attempt
    WHERE x.status = 'pending' ORDER BY x.id FOR UPDATE OF x
) held
WHERE n.id = held.id
RETURNING n.id

-- name: retry_later
-- $1 id, $2 attempt, $3 run_after, $4 error_message, $5 failures to count: 1, or 0 where the receiver asked to wait
UPDATE {schema}.model_notifications
SET run_after = $3, lease_until = NULL, error_message = $4, failures = failures + $5
WHERE id = $1 AND attempt = $2 AND status = 'pending'

-- name: mark_dead
-- $1 id, $2 attempt, $3 error_message
UPDATE {schema}.model_notifications
SET status = 'dead', lease_until = NULL, error_message = $3, failures = failures + 1
WHERE id = $1 AND attempt = $2 AND status = 'pending'

-- name: hand_back
-- $1 ids, $2 their attempts, $3 now
UPDATE {schema}.model_notifications n
SET run_after = $3, lease_until = NULL
FROM (
    SELECT x.id FROM {schema}.model_notifications x
    JOIN unnest($1::text[]::uuid[], $2::text[]::integer[]) AS h (id, attempt) ON x.id = h.id AND x.attempt = h.attempt
    WHERE x.status = 'pending' ORDER BY x.id FOR UPDATE OF x
) held
WHERE n.id = held.id

-- name: requeue
-- $1 id, $2 now
UPDATE {schema}.model_notifications n
SET status = 'pending', run_after = $2, lease_until = NULL, failures = 0
WHERE n.id = $1 AND n.status IN ('dead', 'dropped')
RETURNING n.id

-- name: requeue_dead
-- $1 channel, $2 now
WITH requeued AS (
    UPDATE {schema}.model_notifications n
    SET status = 'pending', run_after = $2, lease_until = NULL, failures = 0
    WHERE n.id IN (
        SELECT x.id FROM {schema}.model_notifications x
        WHERE x.channel = $1 AND x.status = 'dead' ORDER BY x.id FOR UPDATE SKIP LOCKED)
    RETURNING n.id
)
SELECT count(*) AS n FROM requeued

-- name: columns
n.id, n.event_id, e.event, e.alert_id, a.alert_type, e.severity, a.model_type, a.machine_id, n.channel, n.status,
n.attempt, n.failures, n.run_after, n.lease_until, n.delivered_at, n.error_message, n.created_at

-- name: fetch_notification
-- $1 id
SELECT {columns} FROM {schema}.model_notifications n
JOIN {schema}.model_alert_events e ON e.id = n.event_id
JOIN {schema}.model_alerts a ON a.id = e.alert_id
WHERE n.id = $1

-- name: list_notifications
-- $1 and $2 created_at and id before which the page starts (newest first), $3 limit
SELECT {columns} FROM {schema}.model_notifications n
JOIN {schema}.model_alert_events e ON e.id = n.event_id
JOIN {schema}.model_alerts a ON a.id = e.alert_id
WHERE (n.created_at, n.id) < ($1, $2)
-- filters
ORDER BY n.created_at DESC, n.id DESC
LIMIT $3
