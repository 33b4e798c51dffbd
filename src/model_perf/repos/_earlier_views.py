"""Views with the names and columns of the earlier tables, over ours; the only text here that is no named query.

The columns differ from host to host, so that the text is built. A value of an imported row that we keep under its old
name in ``metadata.imported`` comes from there, everything else from our column.
"""

from __future__ import annotations

from collections.abc import Mapping

from model_perf.repos._earlier_source import OldColumn, OldTable, quote_name

_IMPORTED = "(t.metadata -> 'imported')"
_WIDER = {"int2": "pg_catalog.int8", "int4": "pg_catalog.int8", "float4": "pg_catalog.float8"}
"""Types that a row of ours, recorded later, might not fit into."""

_HOMES: Mapping[str, Mapping[str, str]] = {
    "model_performance_metrics": {
        "precision_score": "t.precision",
        "recall_score": "t.recall",
        "drift_details": "nullif(t.drift_details, '{}')",
    },
    "model_training_history": {
        "training_samples": "t.sample_count",
        "trigger_type": "CASE t.trigger_type WHEN 'drift' THEN 'drift_detected'"
        " WHEN 'degradation' THEN 'performance_degradation' ELSE t.trigger_type END",
    },
    "model_ab_tests": {
        "traffic_split_b": "t.traffic_split",
        "winner_model_id": "CASE t.winner_model WHEN 'model_a' THEN t.model_a_id WHEN 'model_b' THEN t.model_b_id END",
    },
    "model_alerts": {
        "severity": "CASE t.severity WHEN 'info' THEN 'normal' ELSE t.severity END",
        "resolved_at": "t.resolved_timestamp",
        "resolution_action": "t.resolution",
    },
}
_EVERYWHERE = {
    "machine_id": "nullif(t.machine_id, '00000000-0000-0000-0000-000000000000')",
    "metadata": "t.metadata - 'imported'",
}
_ELEMENTS = {"auto_action_type": "type", "auto_action_result": "result"}
"""Columns of the alerts that are an element of our auto_action."""

_DERIVED: Mapping[str, Mapping[str, str]] = {
    "model_performance_metrics": {},
    "model_training_history": {
        "training_duration_seconds": "extract(epoch FROM t.training_end - t.training_start)",
    },
    "model_ab_tests": {
        "traffic_split_a": "1 - t.traffic_split",
        "winner_declared_at": "CASE WHEN t.winner_model IN ('model_a', 'model_b') THEN t.decided_at END",
        "model_a_metrics": "t.winner_metrics -> 'model_a'",
        "model_b_metrics": "t.winner_metrics -> 'model_b'",
        "decision_notes": "t.decision_reason",
    },
    "model_alerts": {"created_at": "t.alert_timestamp"},
}
"""For rows of our own only: an imported one that lacks them has NULL there, as it had."""

_PLAIN = {"id", "model_id", "evaluation_date"}
"""Never empty, never changed on the way: as they are, an index of ours serves conditions on them."""

_OURS_FIRST = {"drift_detected", "drift_score", "drift_threshold", "drift_details"}
_OURS_ONLY = {"training_status", "test_status"}


def create_view(source: str, schema: str, table: OldTable, ours: OldTable, zone: str) -> str:
    """The statement that makes the view *table* in *source* over the table of ours in *schema*."""
    types = {column.name: column.type for column in ours.columns}
    columns = ",\n    ".join(
        f"{_column(table.name, column, types, zone)} AS {quote_name(column.name)}" for column in table.columns
    )
    relation = quote_name(table.name)
    return f"CREATE VIEW {quote_name(source)}.{relation} AS\nSELECT {columns}\nFROM {quote_name(schema)}.{relation} t"


def _column(table: str, column: OldColumn, types: Mapping[str, str], zone: str) -> str:
    imported, key = _element(_IMPORTED, column.name, column), quote_text(column.name)
    derived = _DERIVED[table].get(column.name)
    if derived is not None:
        own = _cast(f"({derived})", column, zone)
        return f"CASE WHEN t.metadata ? 'imported' THEN {imported} ELSE {own} END"
    ours = _ours(table, column, types, zone)
    if ours is None:
        return imported
    if column.name in _PLAIN or column.name in _OURS_ONLY:
        return ours
    if column.name in _OURS_FIRST:
        return f"coalesce({ours}, {imported})"
    kept = f"WHEN {_IMPORTED} ? {key} THEN {imported} ELSE {ours} END"
    return f"CASE WHEN {_IMPORTED} -> 'filled_in' ? {key} THEN NULL {kept}"


def _ours(table: str, column: OldColumn, types: Mapping[str, str], zone: str) -> str | None:
    """The column's value from ours, in its old type; None where ours has none."""
    name = column.name
    if name in _ELEMENTS and table == "model_alerts":
        return _element("t.auto_action", _ELEMENTS[name], column)
    home = _HOMES[table].get(name) or _EVERYWHERE.get(name)
    if home is None and name in types:
        home = f"t.{quote_name(name)}"
    return None if home is None else _cast(f"({home})", column, zone)


def _cast(value: str, column: OldColumn, zone: str) -> str:
    if column.type in ("json", "jsonb"):
        return f"pg_catalog.to_jsonb{value}::{column.quoted_type}"
    if column.type in ("timestamp", "date"):
        return f"({value} AT TIME ZONE {quote_text(zone)})::{column.quoted_type}"
    if column.labels is not None:
        labels = ", ".join(map(quote_text, column.labels))
        return f"CASE WHEN {value}::text IN ({labels}) THEN {value}::text::{column.quoted_type} END"
    return f"{value}::{_WIDER.get(column.type, column.quoted_type)}"


def _element(parent: str, key: str, column: OldColumn) -> str:
    """An element of a JSON object, in the type of the column."""
    name, kind = quote_text(key), _WIDER.get(column.type, column.quoted_type)
    if column.type in ("json", "jsonb"):
        return f"({parent} -> {name})::{kind}"
    if column.category == "A":
        elements = f"pg_catalog.jsonb_array_elements_text({parent} -> {name}) WITH ORDINALITY AS e (value, n)"
        array = f"ARRAY(SELECT e.value FROM {elements} ORDER BY e.n)::{kind}"
        return f"CASE WHEN {parent} ? {name} THEN {array} END"
    return f"({parent} ->> {name})::{kind}"


def quote_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
