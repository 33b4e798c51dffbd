-- What follows from an alert: its log, who is told, who works, which version serves, what may happen by itself.

ALTER TABLE {schema}.model_alerts
    ADD COLUMN acknowledgement_notes text,
    ADD COLUMN snoozed_at timestamptz,
    ADD COLUMN snoozed_by text,
    ADD COLUMN snooze_notes text;

ALTER TABLE {schema}.model_training_history
    ADD COLUMN alert_id uuid,
    ADD COLUMN failure_told_at timestamptz;
COMMENT ON COLUMN {schema}.model_training_history.alert_id IS 'The alert that asked for the run, if one did';

ALTER TABLE {schema}.model_ab_tests ADD COLUMN training_run_id uuid;
COMMENT ON COLUMN {schema}.model_ab_tests.training_run_id IS 'The run that made model_b, if it started the test';

CREATE TABLE {schema}.model_alert_events (
    id          bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    alert_id    uuid        NOT NULL,
    event       text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    severity    text        NOT NULL,
    actor       text,
    notes       text,
    details     jsonb       NOT NULL DEFAULT '{}',
    metadata    jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_alert_events_pkey PRIMARY KEY (id),
    CONSTRAINT model_alert_events_alert
        FOREIGN KEY (alert_id) REFERENCES {schema}.model_alerts (id) ON DELETE CASCADE,
    CONSTRAINT model_alert_events_event
        CHECK (event IN ('opened', 'escalated', 'acknowledged', 'snoozed', 'acted', 'resolved'))
);
CREATE INDEX model_alert_events_of_alert ON {schema}.model_alert_events (alert_id, id);
COMMENT ON TABLE {schema}.model_alert_events IS
    'What happened to each alert, in order; written by a trigger whoever changes the alert, never changed';

CREATE TABLE {schema}.model_notifications (
    id            uuid        NOT NULL DEFAULT gen_random_uuid(),
    event_id      bigint      NOT NULL,
    channel       text        NOT NULL DEFAULT '',
    status        text        NOT NULL DEFAULT 'pending',
    attempt       integer     NOT NULL DEFAULT 0,
    failures      integer     NOT NULL DEFAULT 0,
    run_after     timestamptz NOT NULL,
    lease_until   timestamptz,
    delivered_at  timestamptz,
    error_message text,
    created_at    timestamptz NOT NULL,
    metadata      jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_notifications_pkey PRIMARY KEY (id),
    CONSTRAINT model_notifications_event
        FOREIGN KEY (event_id) REFERENCES {schema}.model_alert_events (id) ON DELETE CASCADE,
    CONSTRAINT model_notifications_one_per_channel UNIQUE (event_id, channel),
    CONSTRAINT model_notifications_status CHECK (status IN ('pending', 'delivered', 'dead', 'dropped')),
    CONSTRAINT model_notifications_attempt CHECK (attempt >= 0),
    CONSTRAINT model_notifications_failures CHECK (failures >= 0)
);
-- Deliveries are claimed channel by channel, so that what one channel has left undone stands in nobody's way.
CREATE INDEX model_notifications_due ON {schema}.model_notifications (channel, run_after, event_id)
    WHERE status = 'pending';
CREATE INDEX model_notifications_newest ON {schema}.model_notifications (created_at, id);
COMMENT ON TABLE {schema}.model_notifications IS
    'The outbox: a row per event and channel that is to be told; its id is what a receiver tells repeats by';
COMMENT ON COLUMN {schema}.model_notifications.channel IS
    'Empty: not routed yet; written with the event, before anybody knows which channels there are';

CREATE TABLE {schema}.model_notification_channels (
    channel     text        NOT NULL,
    spent_until timestamptz NOT NULL,
    rests_until timestamptz,
    metadata    jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_notification_channels_pkey PRIMARY KEY (channel)
);
COMMENT ON TABLE {schema}.model_notification_channels IS
    'What all processes share of a channel: its rate limit, and until when its receiver asked to be left alone';
COMMENT ON COLUMN {schema}.model_notification_channels.spent_until IS
    'When all that was sent is paid off, at the rate of the limit; the limit is a burst before it';

CREATE TABLE {schema}.model_workers (
    worker      text        NOT NULL,
    model_types text[]      NOT NULL,
    started_at  timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL,
    stopped_at  timestamptz,
    metadata    jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_workers_pkey PRIMARY KEY (worker)
);
CREATE INDEX model_workers_seen ON {schema}.model_workers (seen_at);
COMMENT ON TABLE {schema}.model_workers IS 'A row per worker that trains, and when it was last seen';

CREATE TABLE {schema}.model_champions (
    machine_id       uuid        NOT NULL,
    model_type       text        NOT NULL,
    number           integer     NOT NULL,
    action           text        NOT NULL,
    model_id         uuid        NOT NULL,
    model_version    integer     NOT NULL,
    reason           text,
    promoted_by      text,
    promoted_at      timestamptz NOT NULL,
    training_run_id  uuid,
    ab_test_id       uuid,
    metadata         jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_champions_pkey PRIMARY KEY (machine_id, model_type, number),
    CONSTRAINT model_champions_number CHECK (number >= 1),
    CONSTRAINT model_champions_action CHECK (action IN ('promotion', 'rollback'))
);
COMMENT ON TABLE {schema}.model_champions IS
    'A row per change of the version that serves a machine; that with the highest number serves';

CREATE TABLE {schema}.model_automation (
    machine_id uuid        NOT NULL,
    model_type text        NOT NULL,
    is_enabled boolean     NOT NULL,
    reason     text,
    changed_by text,
    changed_at timestamptz NOT NULL,
    metadata   jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_automation_pkey PRIMARY KEY (machine_id, model_type)
);
COMMENT ON TABLE {schema}.model_automation IS
    'Whether the policy may act by itself for a machine and model type; without a row it may';

-- A trigger, since alerts are written by four statements and by hand, and the log must hold for all of them. With the
-- owner's rights: no writer can forge the log, and one whose rights were granted table by table goes on writing alerts.
CREATE FUNCTION {schema}.model_alerts_log() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $model_perf$
DECLARE
    is_new boolean := TG_OP = 'INSERT';
BEGIN
    WITH happened (event, occurred_at, actor, notes, details, is_told) AS (
        SELECT 'opened', NEW.alert_timestamp, NULL, NEW.alert_message, '{}'::jsonb, NOT NEW.is_resolved
        WHERE is_new
        UNION ALL
        SELECT 'escalated', NEW.last_seen_at, NULL, NEW.alert_message,
            jsonb_build_object('from', OLD.severity, 'to', NEW.severity), true
        WHERE NOT is_new AND NEW.severity_rank > OLD.severity_rank
        UNION ALL
        SELECT 'acknowledged', NEW.acknowledged_at, NEW.acknowledged_by, NEW.acknowledgement_notes, '{}', false
        WHERE NEW.acknowledged_at IS NOT NULL AND (is_new OR OLD.acknowledged_at IS DISTINCT FROM NEW.acknowledged_at)
        UNION ALL
        SELECT 'snoozed', NEW.snoozed_at, NEW.snoozed_by, NEW.snooze_notes,
            jsonb_build_object('until', NEW.snoozed_until), false
        WHERE NEW.snoozed_at IS NOT NULL AND NEW.snoozed_until IS NOT NULL
            AND (is_new OR (OLD.snoozed_at, OLD.snoozed_until) IS DISTINCT FROM (NEW.snoozed_at, NEW.snoozed_until))
        UNION ALL
        SELECT 'acted', coalesce((NEW.auto_action ->> 'acted_at')::timestamptz, NEW.last_seen_at), NULL, NEW.auto_action ->> 'reason', NEW.auto_action, false
        WHERE NEW.auto_action <> '{}' AND (is_new OR OLD.auto_action <> NEW.auto_action)
        UNION ALL
        SELECT 'resolved', NEW.resolved_timestamp, NEW.resolved_by, NEW.resolution_notes,
            jsonb_build_object('resolution', NEW.resolution), NOT is_new
        WHERE NEW.is_resolved AND (is_new OR NOT OLD.is_resolved)
    ), logged AS (
        INSERT INTO {schema}.model_alert_events (alert_id, event, occurred_at, severity, actor, notes, details)
        SELECT NEW.id, h.event, h.occurred_at, NEW.severity, h.actor, h.notes, h.details FROM happened h
        RETURNING id, event, occurred_at
    )
    INSERT INTO {schema}.model_notifications (event_id, run_after, created_at)
    SELECT l.id, l.occurred_at, l.occurred_at FROM logged l JOIN happened h USING (event) WHERE h.is_told;
    RETURN NULL;
END $model_perf$;
CREATE TRIGGER model_alerts_log AFTER INSERT OR UPDATE ON {schema}.model_alerts
    FOR EACH ROW EXECUTE FUNCTION {schema}.model_alerts_log();

CREATE FUNCTION {schema}.model_alert_events_keep() RETURNS trigger LANGUAGE plpgsql AS $model_perf$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation',
        CONSTRAINT = 'model_alert_events_append_only',
        MESSAGE = 'the log of alerts is append-only';
END $model_perf$;
CREATE TRIGGER model_alert_events_keep BEFORE UPDATE ON {schema}.model_alert_events
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.model_alert_events_keep();

CREATE INDEX model_alerts_newest ON {schema}.model_alerts (alert_timestamp, id);

CREATE OR REPLACE VIEW {schema}.v_unresolved_model_alerts AS
SELECT a.id, a.alert_type, a.severity, a.model_type, a.machine_id, names.machine_name,
       a.model_id, a.model_version, a.alert_message, a.alert_timestamp, a.last_seen_at, a.occurrences,
       a.alert_details, a.current_metric_value, a.threshold_value, a.baseline_metric_value,
       a.acknowledged_at, a.acknowledged_by, a.snoozed_until, a.auto_action_taken,
       (EXTRACT(EPOCH FROM now() - a.alert_timestamp) / 3600)::float8 AS age_hours,
       a.acknowledgement_notes, a.snoozed_at, a.snoozed_by, a.snooze_notes,
       coalesce(a.snoozed_until > now(), false) AS is_snoozed, a.auto_action
FROM {schema}.model_alerts a
LEFT JOIN LATERAL (
    SELECT max(m.machine_name) AS machine_name FROM {schema}.models m WHERE m.machine_id = a.machine_id
) names ON true
WHERE NOT a.is_resolved
ORDER BY a.severity_rank DESC, a.alert_timestamp DESC, a.id DESC;

-- A failed run is told of once: whoever marks it opens the alert, or counts one more occurrence of it.
COMMENT ON COLUMN {schema}.model_training_history.failure_told_at IS 'When the failure was counted in an alert';
CREATE INDEX model_training_history_untold ON {schema}.model_training_history (machine_id, model_type, id)
    WHERE training_status = 'failed' AND failure_told_at IS NULL;

-- Whether a run that the policy wishes for may be opened, and why not. With the owner's rights: a writer whose rights
-- were granted table by table before there was a switch goes on writing alerts, and the switch holds for it.
CREATE FUNCTION {schema}.model_automation_decide(for_machine uuid, for_type text, moment timestamptz, wish jsonb)
RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $model_perf$
    WITH slot AS (
        SELECT (SELECT 'switched off by ' || coalesce(s.changed_by, 'somebody') || coalesce(': ' || s.reason, '')
                FROM {schema}.model_automation s
                WHERE s.machine_id = for_machine AND s.model_type = for_type AND NOT s.is_enabled) AS switched_off,
            (SELECT r.id FROM {schema}.model_training_history r
             WHERE r.machine_id = for_machine AND r.model_type = for_type
                AND r.training_status IN ('pending', 'running')) AS open_run,
            (SELECT r.created_at + make_interval(secs => (wish ->> 'cooldown_s')::float8)
             FROM {schema}.model_training_history r
             WHERE r.machine_id = for_machine AND r.model_type = for_type AND r.training_status <> 'cancelled'
             ORDER BY r.created_at DESC LIMIT 1) AS cooled_at,
            -- One more is allowed a day after the run that used up the cap: 24 hours, whatever the session's zone makes of it.
            (SELECT r.created_at + interval '24 hours' FROM {schema}.model_training_history r
             WHERE r.machine_id = for_machine AND r.model_type = for_type AND r.training_status <> 'cancelled'
                AND r.triggered_by = 'policy' AND wish ? 'max_per_day'
             ORDER BY r.created_at DESC OFFSET coalesce((wish ->> 'max_per_day')::integer - 1, 0) LIMIT 1) AS capped_until
    ), decided AS (
        SELECT CASE
                WHEN switched_off IS NOT NULL THEN 'switched_off'
                WHEN open_run IS NOT NULL OR greatest(cooled_at, capped_until) > moment THEN 'skipped'
                WHEN (wish ->> 'dry_run')::boolean THEN 'dry_run'
                ELSE 'requested'
            END AS outcome,
            CASE WHEN open_run IS NULL AND switched_off IS NULL AND greatest(cooled_at, capped_until) > moment
                THEN greatest(cooled_at, capped_until) AT TIME ZONE 'UTC' END AS retry_at,
            slot.*
        FROM slot
    )
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'action', 'retrain',
        'outcome', d.outcome,
        'reason', CASE
            WHEN d.outcome = 'switched_off' THEN d.switched_off
            WHEN d.open_run IS NOT NULL THEN 'skipped: a run is open already'
            WHEN d.retry_at IS NOT NULL THEN
                CASE WHEN d.capped_until > moment
                    THEN 'skipped: daily cap of ' || (wish ->> 'max_per_day') || ' reached, until '
                    ELSE 'skipped: cooldown until '
                END || to_char(d.retry_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            WHEN d.outcome = 'dry_run' THEN 'dry run: a training run would have been opened'
            ELSE 'requested'
        END,
        'run_id', CASE d.outcome WHEN 'requested' THEN wish ->> 'id' WHEN 'skipped' THEN d.open_run::text END,
        'retry_at', to_char(d.retry_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        'start_ab_test', wish -> 'start_ab_test'))
    FROM decided d
$model_perf$;
GRANT EXECUTE ON FUNCTION {schema}.model_automation_decide TO PUBLIC;
COMMENT ON FUNCTION {schema}.model_automation_decide IS
    'What becomes of a training run that the policy wishes for in a slot: the auto_action of its alert';

CREATE INDEX model_ab_tests_of_run ON {schema}.model_ab_tests (training_run_id) WHERE training_run_id IS NOT NULL;
-- Who may execute a trigger function may hang it on a table of his own, and with it write what he likes into the log.
REVOKE EXECUTE ON FUNCTION {schema}.model_alerts_log() FROM PUBLIC;

-- The default privileges of an earlier script have given the writer the rights that it has on the other tables.
DO $model_perf$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_catalog.pg_type t
        JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
        CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
        WHERE t.oid = pg_typeof(NULL::{schema}.model_alert_events)
            AND a.grantee <> c.relowner AND a.privilege_type IN ('INSERT', 'UPDATE')
    LOOP
        EXECUTE 'REVOKE INSERT, UPDATE ON ' || $q${schema}.model_alert_events FROM $q$ || grantee;
    END LOOP;
END $model_perf$;
