"""An earlier installation as hosts have it: DECIMALs, an enum, rows of machines, views with machine_name, and rows."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
from tests.factories import make_id

TABLES = ("model_performance_metrics", "model_training_history", "model_ab_tests", "model_alerts")
MACHINE = make_id("machine press")
MODEL, OTHER_MODEL = make_id("model earlier"), make_id("model earlier b")

DDL = """
CREATE SCHEMA IF NOT EXISTS {s};
CREATE TYPE {s}.alert_severity AS ENUM ('normal', 'warning', 'critical');
CREATE TABLE {s}.machines (id uuid PRIMARY KEY, name varchar(100) NOT NULL, type varchar(50));

CREATE TABLE {s}.model_performance_metrics (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    model_id uuid NOT NULL,
    model_type varchar(50) NOT NULL,
    model_version integer,
    machine_id uuid REFERENCES {s}.machines (id),
    evaluation_date {time} NOT NULL,
    evaluation_start {time},
    evaluation_end {time},
    r_squared decimal(5,4),
    rmse decimal(12,4),
    mae decimal(12,4),
    mape decimal(8,4),
    precision_score decimal(5,4),
    recall_score decimal(5,4),
    f1_score decimal(5,4),
    true_positives integer,
    false_positives integer,
    true_negatives integer,
    false_negatives integer,
    drift_detected boolean DEFAULT false,
    drift_score decimal(8,6),
    drift_threshold decimal(8,6),
    drift_details jsonb,
    sample_count integer,
    data_completeness decimal(5,4),
    outlier_percentage decimal(5,2),
    evaluation_notes text,
    created_by varchar(100),
    created_at {time} DEFAULT now(),
    metadata jsonb
);
CREATE INDEX ON {s}.model_performance_metrics (machine_id, evaluation_date);

CREATE TABLE {s}.model_training_history (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    model_type varchar(50) NOT NULL,
    machine_id uuid REFERENCES {s}.machines (id),
    model_version integer,
    training_start {time},
    training_end {time},
    training_duration_seconds integer,
    training_status varchar(20) NOT NULL DEFAULT 'pending',
    training_data_start {time},
    training_data_end {time},
    training_samples integer,
    hyperparameters jsonb,
    feature_names text[],
    training_metrics jsonb,
    validation_metrics jsonb,
    initial_r_squared decimal(5,4),
    initial_rmse decimal(12,4),
    initial_mae decimal(12,4),
    performance_improvement decimal(8,4),
    error_message text,
    error_traceback text,
    trigger_type varchar(50),
    triggered_by varchar(100),
    created_at {time},
    metadata jsonb DEFAULT '{{}}'
);

CREATE TABLE {s}.model_ab_tests (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    test_name varchar(200) NOT NULL,
    model_type varchar(50) NOT NULL,
    machine_id uuid REFERENCES {s}.machines (id),
    model_a_id uuid NOT NULL,
    model_a_version integer,
    model_b_id uuid NOT NULL,
    model_b_version integer,
    traffic_split_a decimal(3,2),
    traffic_split_b decimal(3,2),
    test_start {time} NOT NULL,
    test_end {time},
    test_status varchar(20) NOT NULL DEFAULT 'running',
    model_a_metrics jsonb,
    model_b_metrics jsonb,
    winner_model_id uuid,
    winner_declared_at {time},
    statistical_significance decimal(6,5),
    confidence_level decimal(5,4),
    decision varchar(50),
    decision_notes text,
    decided_by varchar(100),
    decided_at {time},
    created_by varchar(100),
    created_at {time},
    metadata jsonb
);

CREATE TABLE {s}.model_alerts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    alert_type varchar(50) NOT NULL,
    severity {s}.alert_severity NOT NULL DEFAULT 'normal',
    model_type varchar(50),
    machine_id uuid REFERENCES {s}.machines (id),
    alert_message text NOT NULL,
    alert_details jsonb,
    alert_timestamp {time} NOT NULL,
    current_metric_value decimal(15,6),
    threshold_value decimal(15,6),
    baseline_metric_value decimal(15,6),
    is_resolved boolean DEFAULT false,
    resolved_at {time},
    resolution_action varchar(100),
    resolved_by varchar(100),
    resolution_notes text,
    auto_action_taken boolean DEFAULT false,
    auto_action_type varchar(50),
    auto_action_result jsonb,
    created_at {time},
    metadata jsonb
);

CREATE VIEW {s}.v_latest_model_performance AS
SELECT DISTINCT ON (e.model_type, e.machine_id) e.model_type, e.machine_id, m.name AS machine_name, e.evaluation_date,
    e.r_squared, e.precision_score, e.drift_detected, e.drift_score
FROM {s}.model_performance_metrics e LEFT JOIN {s}.machines m ON m.id = e.machine_id
ORDER BY e.model_type, e.machine_id, e.evaluation_date DESC, e.id;

CREATE VIEW {s}.v_active_ab_tests AS
SELECT t.id, t.test_name, m.name AS machine_name, t.traffic_split_a, t.traffic_split_b
FROM {s}.model_ab_tests t LEFT JOIN {s}.machines m ON m.id = t.machine_id WHERE t.test_status = 'running';

CREATE VIEW {s}.v_unresolved_model_alerts AS
SELECT a.id, a.alert_type, a.severity, m.name AS machine_name, a.alert_message, a.alert_timestamp
FROM {s}.model_alerts a LEFT JOIN {s}.machines m ON m.id = a.machine_id
WHERE NOT a.is_resolved ORDER BY a.severity DESC, a.alert_timestamp DESC;
"""

ROWS = """
INSERT INTO {s}.machines VALUES ('{machine}', 'press 7', 'press');

INSERT INTO {s}.model_performance_metrics (id, model_id, model_type, model_version, machine_id, evaluation_date,
    evaluation_start, evaluation_end, r_squared, rmse, mae, mape, precision_score, recall_score, f1_score,
    true_positives, false_positives, true_negatives, false_negatives, drift_detected, drift_score, drift_threshold,
    drift_details, sample_count, data_completeness, outlier_percentage, evaluation_notes, created_by, created_at,
    metadata)
SELECT md5('evaluation ' || n)::uuid, '{model}', 'baseline', 3, CASE WHEN n = 2 THEN NULL ELSE '{machine}'::uuid END,
    '2024-01-01'::{time} + n * interval '1 day', '2024-01-01'::{time} + (n - 1) * interval '1 day',
    '2024-01-01'::{time} + n * interval '1 day', 0.9 + 0.001 * (n % 7), 12.3456 + 0.01 * (n % 5), 9.8765, 4.5,
    0.875, 0.75, 0.8077, 7, 1, 90, 2, n % 5 = 0, 0.123456, 0.1, '{{"method": "ratio", "limit": 0.10}}', 1000 + n, 0.985,
    1.25, 'evaluated at night', 'cron', '2024-01-01 00:05'::{time} + n * interval '1 day',
    CASE WHEN n % 2 = 0 THEN '{{"site": "north", "exact": 0.12345678901234567890}}'::jsonb END
FROM generate_series(1, 40) n;
INSERT INTO {s}.model_performance_metrics (id, model_id, model_type, machine_id, evaluation_date, rmse, metadata)
VALUES (md5('sparse')::uuid, '{other}', 'forecast', '{machine}', '2024-02-01', 5.5, '[1, 2]'),
    (md5('named')::uuid, '{other}', 'forecast', '{machine}', '2024-02-02', 5.6, '{{"imported": "by hand"}}');

INSERT INTO {s}.model_training_history VALUES
    (md5('run done')::uuid, 'baseline', '{machine}', 3, '2024-01-01 03:00', '2024-01-01 03:10:30', 630, 'completed',
     '2023-01-01', '2024-01-01', 52000, '{{"depth": 3}}', '{{temperature,"load, kW"}}', '{{"rmse": 9.1}}',
     '{{"rmse": 9.7}}', 0.91, 12.5, 9.9, 0.12, NULL, NULL, 'drift_detected', 'policy', '2024-01-01 02:59',
     '{{"a": 1}}'),
    (md5('run open')::uuid, 'baseline', '{machine}', NULL, '2024-02-01', NULL, NULL, 'running', NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'performance_degradation', 'policy', NULL, NULL),
    (md5('run waits')::uuid, 'forecast', '{machine}', NULL, NULL, NULL, NULL, 'pending', NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'no slot', NULL, 'manual', 'me', '2024-02-02', NULL),
    (md5('run failed')::uuid, 'forecast', NULL, 1, '2024-01-05', '2024-01-05 00:01', 60, 'failed', NULL, NULL, 0,
     '{{}}', '{{}}', NULL, NULL, NULL, NULL, NULL, -0.5, 'out of memory', 'line 1', NULL, NULL, '2024-01-05', '{{}}');

INSERT INTO {s}.model_ab_tests VALUES
    (md5('test a')::uuid, 'a or b', 'baseline', '{machine}', '{model}', 1, '{other}', 2, 0.30, 0.70, '2024-01-01',
     '2024-01-08', 'completed', '{{"rmse": 10.5, "note": "x"}}', '{{"rmse": 9.5}}', '{other}', '2024-01-08 01:00',
     0.01234, 0.95, 'deploy_b', 'b is better', 'me', NULL, 'me', '2024-01-01', '{{"ticket": 7}}'),
    (md5('test over')::uuid, 'forgotten', 'baseline', '{machine}', '{model}', 1, '{model}', 2, 0.50, 0.50, '2024-01-10',
     '2024-01-20', 'running', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2024-01-10', NULL),
    (md5('test same')::uuid, 'same id', 'forecast', '{machine}', '{model}', 1, '{model}', 2, 0.50, NULL, '2024-01-10',
     NULL, 'completed', NULL, NULL, '{model}', NULL, NULL, NULL, 'undecided', NULL, 'me', '2024-01-19', NULL, NULL,
     NULL),
    (md5('test runs')::uuid, 'open', 'baseline', '{machine}', '{model}', 3, '{model}', 4, 0.50, 0.50, '2024-02-01',
     '2999-01-01', 'running', NULL, NULL, NULL, NULL, NULL, NULL, 'pending', NULL, NULL, NULL, 'me', '2024-02-01',
     NULL),
    (md5('test off')::uuid, 'cancelled', 'forecast', NULL, '{model}', NULL, '{other}', NULL, 0.90, 0.10, '2024-01-10',
     '2024-01-20', 'cancelled', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'wrong data', 'me', '2024-01-11', 'me',
     '2024-01-10', '{{}}');

INSERT INTO {s}.model_alerts VALUES
    (md5('alert open')::uuid, 'drift', 'critical', 'baseline', '{machine}', 'R² fell', '{{"r_squared": 0.61}}',
     '2024-02-01', 0.61, 0.7, 0.92, false, NULL, NULL, NULL, NULL, true, 'retrain', '{{"run": 5}}', '2024-02-01', NULL),
    (md5('alert again')::uuid, 'drift', 'warning', 'baseline', '{machine}', 'R² fell', NULL,
     '2024-02-02', 0.6, 0.7, 0.92, false, NULL, NULL, NULL, NULL, false, NULL, NULL, '2024-02-02', '{{"seen": 2}}'),
    (md5('alert done')::uuid, 'missing_data', 'normal', 'forecast', NULL, 'no data', '{{}}', '2024-01-03', NULL, NULL,
     NULL, true, '2024-01-03 12:00', 'sensor replaced', 'me', 'by the night shift', NULL, NULL, NULL, NULL, '{{}}'),
    (md5('alert well')::uuid, 'drift', 'warning', 'forecast', '{machine}', 'MAPE rose', '{{}}', '2024-01-04', 12.5, 10,
     8, true, '2024-01-05', 'retrained', 'me', NULL, false, NULL, NULL, '2024-01-04', '{{}}');
"""

BAD_ROWS = """
INSERT INTO {s}.model_performance_metrics (id, model_id, model_type, machine_id, evaluation_date, evaluation_start,
    evaluation_end, r_squared, rmse, data_completeness)
VALUES (md5('r2')::uuid, '{model}', 'baseline', '{machine}', '2024-03-01', NULL, NULL, 1.5, 1, 1),
    (md5('nan')::uuid, '{model}', 'baseline', '{machine}', '2024-03-01', NULL, NULL, 'NaN', 1, 1),
    (md5('rmse')::uuid, '{model}', 'baseline', '{machine}', '2024-03-01', NULL, NULL, NULL, -1, 1),
    (md5('complete')::uuid, '{model}', 'baseline', '{machine}', '2024-03-01', NULL, NULL, NULL, 1, 1.5),
    (md5('none')::uuid, '{model}', 'baseline', '{machine}', '2024-03-01', NULL, NULL, NULL, NULL, 1),
    (md5('window')::uuid, '{model}', 'baseline', '{machine}', '2024-03-01', '2024-03-02', '2024-03-01', NULL, 1, 1),
    (md5('type')::uuid, '{model}', 'another', '{machine}', '2024-03-01', NULL, NULL, NULL, 1, 1);
INSERT INTO {s}.model_training_history (id, model_type, training_status)
VALUES (md5('status')::uuid, 'baseline', 'exploded');
INSERT INTO {s}.model_ab_tests (id, test_name, model_type, model_a_id, model_b_id, test_start, test_end)
VALUES (md5('arms')::uuid, 'same', 'baseline', '{model}', '{model}', '2024-01-01', '2024-01-02'),
    (md5('ends')::uuid, 'ends', 'baseline', '{model}', '{other}', '2024-01-03', '2024-01-02');
INSERT INTO {s}.model_alerts (id, alert_type, model_type, alert_message, alert_timestamp, is_resolved)
VALUES (md5('when')::uuid, 'drift', 'baseline', 'x', '2024-01-01', true),
    (md5('typeless')::uuid, 'drift', NULL, 'x', '2024-01-01', false);
"""


def statements(template: str, schema: str, *, time: str = "timestamptz") -> str:
    return template.format(s=schema, time=time, machine=MACHINE, model=MODEL, other=OTHER_MODEL)


async def create_earlier(
    connection: asyncpg.Connection | asyncpg.Pool, schema: str, *, time: str = "timestamptz"
) -> None:
    """Make the tables, the views and the rows in *schema*; dates without a zone are those of the session."""
    for template in (DDL, ROWS):
        await connection.execute(statements(template, schema, time=time))


async def read_rows(pool: asyncpg.Pool, schema: str, table: str) -> dict[str, dict[str, Any]]:
    """All rows of a table or view by id."""
    rows = await pool.fetch(f'SELECT * FROM "{schema}".{table}')
    return {str(row["id"]): dict(row) for row in rows}


def same(old: Any, new: Any) -> bool:
    """Whether two values say the same, whatever type a driver or JSON gave them."""
    if isinstance(old, Decimal):
        return bool(old == Decimal(str(new)))
    if isinstance(old, datetime):
        return bool(old == (datetime.fromisoformat(new) if isinstance(new, str) else new))
    return bool(parsed(old) == parsed(new))


def parsed(value: Any) -> Any:
    """JSON that came as text, exactly; ids as text."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value, parse_float=Decimal)
    return str(value) if isinstance(value, UUID) else value
