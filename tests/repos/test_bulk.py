"""Many evaluations at once: every value comes back, all rows or none, and repeats write nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import numpy as np
import pytest
from attrs import evolve
from tests.factories import START, make_evaluation, make_id, make_ref
from tests.repos.contents import count_rows, nothing_written

from model_perf import ConflictError, Evaluation, InvalidInputError, ModelPerformanceTracker, RecordedBatch
from model_perf.records import METRIC_COLUMNS
from model_perf.repos._bulk import CHUNK_ROWS

REF = make_ref()
TABLE = "model_performance_metrics"


def batch_of(n: int, *, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """The columns of n evaluations of one deployment, a minute each; the same ids for the same seed."""
    rng = np.random.default_rng([seed, 20240101])
    start = np.datetime64("2024-01-01") + np.arange(n).astype("m8[m]")
    return {
        "model_id": REF.model_id,
        "model_type": REF.model_type,
        "model_version": REF.model_version,
        "machine_id": REF.machine_id,
        "evaluation_start": start,
        "evaluation_end": start + np.timedelta64(1, "m"),
        "evaluation_id": [UUID(bytes=rng.bytes(16)) for _ in range(n)],
        "rmse": np.arange(n, dtype=float),
    } | changes


TEXTS = ["a", "Größe ☃", "x" * 200, "🙂" * 50, "back\\slash", "tab\t", "quote'\"", " padded ", "NULL", "\\N", "{}"]
FLOATS = [0.0, -0.0, 5e-324, 1e-310, 0.1, 1 / 3, 1.0, 1e16 + 2, 1.7976931348623157e308]


def random_time(rng: np.random.Generator) -> datetime:
    return datetime(1, 1, 2, tzinfo=START.tzinfo) + timedelta(
        days=int(rng.integers(0, 3_652_000)), microseconds=int(rng.integers(0, 86_400_000_000))
    )


def random_evaluation(rng: np.random.Generator) -> Evaluation:
    """Any of the values that a record may hold, each missing now and then."""

    def maybe(value: Any) -> Any:
        return None if rng.random() < 0.3 else value

    def number(low: float, high: float) -> float:
        picked = FLOATS[rng.integers(len(FLOATS))] if rng.random() < 0.5 else rng.standard_cauchy() * 1e3
        return float(min(max(picked, low), high))

    ranges = {"r_squared": (-1e308, 1.0), "precision": (0.0, 1.0), "recall": (0.0, 1.0), "f1_score": (0.0, 1.0)}
    metrics = {name: number(*ranges.get(name, (0.0, 1.8e308))) for name in METRIC_COLUMNS if rng.random() < 0.5}
    metrics |= {TEXTS[i]: number(-1e308, 1e308) for i in rng.integers(len(TEXTS), size=rng.integers(3))}
    start = random_time(rng)
    kind = int(rng.integers(3))
    return Evaluation(
        ref=make_ref(
            f"m{kind}", version=int(rng.integers(2**31)), model_type=TEXTS[kind], machine=f"{rng.integers(3)}"
        ),
        evaluation_start=start,
        evaluation_end=start + timedelta(microseconds=int(rng.integers(1, 10**12))),
        evaluation_date=maybe(random_time(rng)),
        metrics=metrics or {"rmse": 1.0},
        sample_count=maybe(int(rng.integers(2**63 - 1))),
        data_completeness=maybe(float(rng.random())),
        created_by=maybe(TEXTS[rng.integers(len(TEXTS))]),
        metadata=maybe({"☃": [1, 0.1, None, True, {"x": TEXTS[rng.integers(len(TEXTS))]}]}),
    )


def as_columns(evaluations: list[Evaluation]) -> dict[str, Any]:
    names = sorted({name for e in evaluations for name in e.metrics} - set(METRIC_COLUMNS))
    return {
        **{name: [getattr(e.ref, name) for e in evaluations] for name in ("model_id", "model_type", "machine_id")},
        "model_version": np.array([e.ref.model_version for e in evaluations]),
        "evaluation_id": [str(e.id) for e in evaluations],
        **{
            name: [getattr(e, name) for e in evaluations]
            for name in ("evaluation_start", "evaluation_end", "evaluation_date", "sample_count", "created_by")
        },
        "data_completeness": np.ma.MaskedArray(
            [e.data_completeness or 0.0 for e in evaluations], mask=[e.data_completeness is None for e in evaluations]
        ),
        **{name: [e.metrics.get(name) for e in evaluations] for name in METRIC_COLUMNS},
        "metrics": {name: [e.metrics.get(name) for e in evaluations] for name in names},
    }


@pytest.mark.parametrize("form", ["records", "columns"])
@pytest.mark.parametrize("seed", range(8))
async def test_every_value_comes_back(bound: ModelPerformanceTracker, seed: int, form: str) -> None:
    """Seeded batches of all that can be stored are read back equal, value by value."""
    rng = np.random.default_rng(seed)
    given = [random_evaluation(rng) for _ in range(40)]
    if form == "columns":
        given = [evolve(e, metadata={}) for e in given]
    batch = await bound.record_many(given if form == "records" else as_columns(given))
    assert batch == RecordedBatch(n_inserted=40, n_repeated=0)
    for evaluation in given:
        found = await bound.metrics.fetch_evaluation(evaluation.ref, evaluation.id)
        expected = evolve(evaluation, evaluation_date=evaluation.evaluation_date, created_at=found.created_at)
        assert found == expected
        assert {name: value.hex() for name, value in found.metrics.items() if name in METRIC_COLUMNS} == {
            name: value.hex() for name, value in expected.metrics.items() if name in METRIC_COLUMNS
        }
    again = await bound.record_many(as_columns(given) if form == "records" else given)
    assert again == RecordedBatch(n_inserted=0, n_repeated=40)


@pytest.mark.parametrize("n", [1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1])
async def test_a_chunks_end_loses_nothing(
    bound: ModelPerformanceTracker, connection: asyncpg.Connection, n: int
) -> None:
    """Around the chunk's length every row is there once, also by the way round duplicates."""
    batch = batch_of(n, created_by=[None] * (n - 1) + ["last"], metrics={"own": np.arange(n)})
    assert await bound.record_many(batch) == RecordedBatch(n_inserted=n, n_repeated=0)
    query = f"SELECT count(*), sum(rmse), sum((metrics->>'own')::float8), count(created_by) FROM model_perf.{TABLE}"
    expected = (n, n * (n - 1) / 2, n * (n - 1) / 2, 1)
    assert tuple(await connection.fetchrow(query)) == expected
    assert await bound.record_many(batch) == RecordedBatch(n_inserted=0, n_repeated=n)
    assert tuple(await connection.fetchrow(query)) == expected


async def test_what_a_batch_writes_is_not_judged(bound: ModelPerformanceTracker) -> None:
    """A batch takes over no verdict, opens no alert and makes its deployments known."""
    judged = evolve(make_evaluation(), verdict="critical", drift_detected=True, drift_score=9.0)
    await bound.record_many([judged])
    found = await bound.metrics.fetch_latest(REF)
    assert found is not None
    assert (found.verdict, found.drift_detected, found.drift_score, found.drift_details) == (
        "not_judged",
        None,
        None,
        {},
    )
    assert [model.ref for model in (await bound.list_models()).items] == [REF]
    assert await bound.active_alerts() == []


@pytest.mark.parametrize("nothing", [[], (), batch_of(0)], ids=["list", "tuple", "columns"])
async def test_an_empty_batch_is_no_error(bound: ModelPerformanceTracker, nothing: Any) -> None:
    """Nothing in, nothing written."""
    assert await bound.record_many(nothing) == RecordedBatch(n_inserted=0, n_repeated=0)


@pytest.fixture
async def without_temp(
    tracker: ModelPerformanceTracker, pool: asyncpg.Pool, database: str
) -> AsyncIterator[ModelPerformanceTracker]:
    """A tracker whose role may write the tables and make no temporary one."""
    role, name = f"role_{uuid4().hex[:8]}", await pool.fetchval("SELECT current_database()")
    await pool.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC;"
        f"GRANT USAGE ON SCHEMA {tracker.schema} TO {role};"
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {tracker.schema} TO {role}"
    )
    own = await asyncpg.create_pool(database, user=role, password="secret", min_size=1, max_size=2)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await own.execute("CREATE TEMPORARY TABLE x ()")
        yield ModelPerformanceTracker(own, schema=tracker.schema)
    finally:
        await own.close()
        await pool.execute(
            f"GRANT TEMPORARY ON DATABASE {name} TO PUBLIC; DROP OWNED BY {role} CASCADE; DROP ROLE {role}"
        )


@pytest.fixture(params=["staged", "arrays"])
def writer(request: pytest.FixtureRequest) -> ModelPerformanceTracker:
    """A tracker that may make temporary tables, and one that may not."""
    found: ModelPerformanceTracker = request.getfixturevalue("tracker" if request.param == "staged" else "without_temp")
    return found


async def test_repeats_are_counted_and_written_once(writer: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """Of a batch that is there in part, the rest is written; twice in a batch counts as there."""
    first = batch_of(300, created_by=[None, "Größe ☃", "x"] * 100, metrics={"own": [None, 1, 0.1] * 100}, mae=5e-324)
    half = {name: value[100:200] if isinstance(value, list | np.ndarray) else value for name, value in first.items()}
    half["metrics"] = {"own": first["metrics"]["own"][100:200]}
    assert await writer.record_many(half) == RecordedBatch(n_inserted=100, n_repeated=0)
    assert await writer.record_many(first) == RecordedBatch(n_inserted=200, n_repeated=100)
    doubled = [make_evaluation(), make_evaluation(day=1), make_evaluation()]
    assert await writer.record_many(doubled) == RecordedBatch(n_inserted=2, n_repeated=1)
    assert await count_rows(pool, writer.schema, TABLE) == 302


async def test_another_payload_is_a_conflict_and_nothing_is_written(
    writer: ModelPerformanceTracker, pool: asyncpg.Pool
) -> None:
    """One row that differs in any value stops the whole batch; the error carries the row that is stored."""
    await writer.record_many([make_evaluation()])
    changes: list[dict[str, Any]] = [
        {"metrics": {"r_squared": 0.93, "rmse": 12.500000000000002}},
        {"metrics": {"r_squared": 0.93}},
        {"metrics": {"r_squared": 0.93, "rmse": 12.5, "own": 1.0}},
        {"sample_count": None},
        {"data_completeness": 0.5},
        {"evaluation_start": START + timedelta(microseconds=1)},
    ]
    for change in changes:
        async with nothing_written(pool, writer.schema):
            with pytest.raises(ConflictError, match="nothing of the batch") as conflict:
                await writer.record_many([make_evaluation(make_ref(version=9)), make_evaluation(**change)])
        existing = conflict.value.existing
        assert isinstance(existing, Evaluation)
        assert existing.metrics == {"r_squared": 0.93, "rmse": 12.5}


async def test_two_payloads_in_one_batch_are_a_conflict(writer: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """A batch that says two things of one evaluation is refused whole."""
    async with nothing_written(pool, writer.schema):
        with pytest.raises(ConflictError):
            await writer.record_many([make_evaluation(), make_evaluation(sample_count=1)])


async def test_an_id_belongs_to_its_date(bound: ModelPerformanceTracker) -> None:
    """The same id at another evaluation_date of the deployment is another evaluation, and a repeat at its own."""
    window: dict[str, Any] = {"evaluation_end": START + timedelta(days=2)}
    for n_inserted in (1, 0):
        assert (await bound.record_many([make_evaluation()])).n_inserted == n_inserted
        assert (await bound.record_many([make_evaluation(**window)])).n_inserted == n_inserted


@pytest.mark.parametrize("form", ["records", "columns"])
async def test_rows_are_written_in_the_order_of_the_key(
    bound: ModelPerformanceTracker, connection: asyncpg.Connection, form: str
) -> None:
    """However a batch is sorted, its rows lie in the table as PostgreSQL sorts the key."""
    rng = np.random.default_rng(1)
    rows = [random_evaluation(rng) for _ in range(200)]
    rows += [evolve(row, id=uuid4()) for row in rows]
    given = rows if form == "records" else as_columns(rows)
    await connection.execute(f"TRUNCATE model_perf.{TABLE}")  # without room left by other tests between the rows
    assert (await bound.record_many(given)).n_inserted == 400
    key = "model_id, model_version, machine_id, evaluation_date, id"
    written = await connection.fetch(f"SELECT id FROM model_perf.{TABLE} ORDER BY ctid")
    assert written == await connection.fetch(f"SELECT id FROM model_perf.{TABLE} ORDER BY {key}")


async def test_a_model_with_two_types_is_a_conflict(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """In one batch, in the same deployment or in a new one, the second type is refused and nothing is written."""
    async with nothing_written(pool, tracker.schema):
        for other in (make_ref(model_type="other"), make_ref(model_type="other", version=2)):
            with pytest.raises(ConflictError, match="model_type"):
                await tracker.record_many([make_evaluation(), make_evaluation(other, day=1)])
    await tracker.record_many([make_evaluation()])
    async with nothing_written(pool, tracker.schema):
        for other in (make_ref(model_type="other"), make_ref(model_type="other", version=2)):
            with pytest.raises(ConflictError, match="model_type"):
                await tracker.record_many([make_evaluation(make_ref("new")), make_evaluation(other, day=1)])


async def test_batches_in_opposite_order_do_not_deadlock(tracker: ModelPerformanceTracker, database: str) -> None:
    """Six batches at once with the same rows, half of them backwards, are one batch and five repeats."""
    n = 5000
    # Known beforehand: the first sight of a model makes its writers queue.
    await tracker.metrics.register_model(REF, START)
    whole = batch_of(n)
    back = {k: v[::-1] if isinstance(v, np.ndarray | list) else v for k, v in whole.items()}
    # A deadlock is not resolved within the test's patience, so that no retry can hide it.
    patient = {"deadlock_timeout": "1min"}
    async with asyncpg.create_pool(database, min_size=6, max_size=6, server_settings=patient) as pool:
        writer = ModelPerformanceTracker(pool, schema=tracker.schema)
        async with asyncio.timeout(15):
            done = await asyncio.gather(*(writer.record_many(whole if i % 2 else back) for i in range(6)))
        assert sum(batch.n_inserted for batch in done) == n
        assert sum(batch.n_repeated for batch in done) == 5 * n
        assert await count_rows(pool, tracker.schema, TABLE) == n


async def test_a_batch_of_many_deployments_registers_each(bound: ModelPerformanceTracker) -> None:
    """Every model, version and machine of the batch is known afterwards, in whatever order it came."""
    refs = [make_ref(f"m{i % 7}", version=i % 3, machine=f"{i % 5}") for i in range(200)]
    await bound.record_many([make_evaluation(ref, day=i) for i, ref in enumerate(refs)])
    models = (await bound.list_models(limit=1000)).items
    assert {model.ref for model in models} == set(refs)


async def test_a_bound_batch_can_be_repeated_in_its_transaction(bound: ModelPerformanceTracker) -> None:
    """Repeats and conflicts inside one host transaction leave it usable and no staging table behind."""
    await bound.record_many([make_evaluation()])
    for _ in range(2):
        assert (await bound.record_many([make_evaluation()])).n_repeated == 1
        with pytest.raises(ConflictError):
            await bound.record_many([make_evaluation(sample_count=1)])
    assert (await bound.record_many([make_evaluation(day=1)])).n_inserted == 1


@pytest.mark.parametrize("bad", ["abc", b"abc", 5, None, {1, 2}, iter([])])
async def test_what_is_no_batch_is_refused(bound: ModelPerformanceTracker, bad: Any) -> None:
    """Neither records nor columns: refused by name."""
    with pytest.raises(InvalidInputError, match="evaluations"):
        await bound.record_many(bad)


async def test_a_row_refused_late_leaves_nothing(tracker: ModelPerformanceTracker, pool: asyncpg.Pool) -> None:
    """One bad value in the last row of two chunks is named, and no row is written."""
    n = CHUNK_ROWS + 5
    rmse = np.arange(n, dtype=float)
    rmse[-1] = np.nan
    async with nothing_written(pool, tracker.schema):
        with pytest.raises(InvalidInputError) as refused:
            await tracker.record_many(batch_of(n, rmse=rmse))
    assert refused.value.argument == f"rmse[{n - 1}]"


async def test_ids_are_made_where_none_are_given(bound: ModelPerformanceTracker) -> None:
    """The same columns twice without ids are two evaluations of each window."""
    batch = batch_of(3)
    del batch["evaluation_id"]
    for _ in range(2):
        assert (await bound.record_many(batch)).n_inserted == 3
    page = await bound.metrics.list_evaluations(REF, since=START, until=START + timedelta(days=1))
    assert len(page.items) == 6
    assert make_id("x") not in {e.id for e in page.items}
