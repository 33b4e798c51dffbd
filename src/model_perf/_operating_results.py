"""What the calls answer by which an installation is looked after."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from attrs import frozen


@frozen(kw_only=True)
class PruneReport:
    """What a prune took out, or would take out.

    Attributes
    ----------
    before : datetime
    dry_run : bool
        Nothing was deleted; the counts are of what would have been.
    deleted : mapping of str to int
        Rows by table; a table without any is listed with 0.
    n_kept_evaluations : int
        Evaluations older than *before* that stay: baselines, what charts are replayed from, what a running test
        compares, the newest of each deployment.
    """

    before: datetime
    dry_run: bool
    deleted: Mapping[str, int]
    n_kept_evaluations: int

    @property
    def n_deleted(self) -> int:
        """The rows of all tables."""
        return sum(self.deleted.values())


@frozen(kw_only=True)
class ForgetReport:
    """What was known of a machine or a model, and is no longer.

    Attributes
    ----------
    kind : str
        "machine" or "model".
    id : UUID
    dry_run : bool
        Nothing was deleted; the counts are of what would have been.
    deleted : mapping of str to int
        Rows by table; a table without any is listed with 0.
    running_tests : tuple of str
        Names of the A/B tests that ran, and went with the rest.
    """

    kind: str
    id: UUID
    dry_run: bool
    deleted: Mapping[str, int]
    running_tests: tuple[str, ...] = ()

    @property
    def n_deleted(self) -> int:
        """The rows of all tables."""
        return sum(self.deleted.values())
