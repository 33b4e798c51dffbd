"""Has the input changed? References, windows of data, streams of values."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from numpy.typing import ArrayLike

from model_perf import _validation as check
from model_perf._facade.shared import Shared
from model_perf.errors import InvalidInputError
from model_perf.records import ModelRef, as_ref, new_id

if TYPE_CHECKING:
    from model_perf._streams import Stream
    from model_perf.drift import DataDriftReport, DatasetProfile, Detector
    from model_perf.drift._profile import Rows


class DataDriftCalls(Shared):
    """What the facade answers about the input of a deployment."""

    async def set_reference(
        self,
        ref: ModelRef,
        data: DatasetProfile | Mapping[str, ArrayLike] | object,
        *,
        segment: str = "",
        rows: Rows | None = None,
        timestamps: ArrayLike | None = None,
        created_by: str | None = None,
    ) -> DatasetProfile:
        """Keep what a deployment's later data are compared with: counts of it, none of its rows.

        A reference that was there is replaced, and its alarm starts again from zero.

        Parameters
        ----------
        data : mapping of str to array, a dataframe, or a DatasetProfile
            What the version learned from, or a normal time after. Profiled in a thread.
        segment : str
            Part of the data with a reference of its own (a shift, a product); "" = all.
        rows, timestamps
            As for `model_perf.drift.profile`; a DatasetProfile has them already.

        Raises
        ------
        InvalidInputError
            Data that cannot be profiled, or none; *rows* or *timestamps* beside a DatasetProfile.
        """
        from model_perf._data_drift import refuse_empty
        from model_perf.drift import DatasetProfile, profile

        as_ref(ref)
        if isinstance(data, DatasetProfile):
            if rows is not None or timestamps is not None:
                raise InvalidInputError("rows", "is said where the rows are counted: give it to drift.profile")
            reference = data
        else:
            reference = await asyncio.to_thread(profile, data, rows=rows, timestamps=timestamps)
        refuse_empty(reference)
        await self.drift.set_reference(
            ref,
            await asyncio.to_thread(reference.to_bytes),
            segment=segment,
            reference_id=new_id(),
            n_rows=reference.n_rows,
            n_columns=len(reference.columns),
            now=self._executor.moment(),
            created_by=created_by,
        )
        return reference

    async def check_data_drift(
        self,
        ref: ModelRef,
        data: Mapping[str, ArrayLike] | object,
        *,
        check_id: UUID | str | None = None,
        segment: str = "",
        window_start: datetime | None = None,
        window_end: datetime | None = None,
        created_by: str | None = None,
    ) -> DataDriftReport:
        """Judge a window of data against the deployment's reference, keep the report, and count it for the alarm.

        The alarm opens an alert once what windows have added up to reaches `false_alarm_run_length`; until the alert is
        resolved it stands still, and further windows with a drift are counted as its repeats.

        Parameters
        ----------
        data : mapping of str to array, a dataframe, or a DatasetProfile counted with the same reference
        check_id : UUID or str, optional
            Give your own to make a repeat of the call harmless: it answers the first report, and counts nothing twice.
        window_start, window_end : datetime, optional
            The time that the data are of; windows that overlap the last one counted do not count again. Default: from
            the end of the last window until now.

        Raises
        ------
        NotFoundError
            There is no reference.
        ConflictError
            The reference was replaced during the call.
        """
        from model_perf import _data_drift
        from model_perf.drift import DatasetProfile, check_data_drift, profile
        from model_perf.drift._histograms import histograms

        number = new_id() if check_id is None else check.as_uuid(check_id, "check_id")
        now = self._executor.moment()
        window = _data_drift.as_window(window_start, window_end, now)
        stored = await self.drift.fetch_reference(ref, segment=segment)

        def judge() -> tuple[DataDriftReport, dict[str, object]]:
            reference = DatasetProfile.from_bytes(stored.profile)
            current = data if isinstance(data, DatasetProfile) else profile(data, reference=reference)
            report = check_data_drift(reference, current, policy=self.policy)
            return report, report.to_dict() | {"histograms": histograms(reference, current, list(report.columns))}

        report, said = await asyncio.to_thread(judge)
        kept, _ = await self.drift.record(
            ref,
            number,
            lambda alarm: _data_drift.decide(alarm, report, said, window, ref, segment, stored.id, self.policy),
            segment=segment,
            fingerprint=_data_drift.data_fingerprint(ref, segment),
            now=now,
            created_by=created_by,
            repeatable=check_id is not None,
        )
        return await asyncio.to_thread(_data_drift.read_report, kept)

    def stream(self, ref: ModelRef, name: str, *, detector: Detector | None = None) -> Stream:
        """A stream of single values, watched by a detector whose state is kept; see `Stream`. No I/O.

        Parameters
        ----------
        name : str
            Which stream of the deployment, such as "error" or "vibration".
        detector : Detector, optional
            What the stream begins with, as ``drift.CusumDetector(mean=..., sd=...)``; later it may be left out.
        """
        from model_perf._streams import Stream

        return Stream(self.drift, ref, name, detector)
