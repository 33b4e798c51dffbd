"""The detectors of streams by their names, for states that come from a database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_perf.drift._adwin import Adwin
from model_perf.drift._cusum_detector import CusumDetector
from model_perf.drift._ewma_detector import EwmaDetector
from model_perf.drift._page_hinkley import PageHinkley
from model_perf.drift._stream import Detector
from model_perf.errors import SchemaError

_DETECTORS: Mapping[str, type[Detector]] = {
    each.__name__: each for each in (Adwin, CusumDetector, EwmaDetector, PageHinkley)
}


def detector_from_dict(data: Mapping[str, Any]) -> Detector:
    """The detector that its `to_dict` wrote, whichever it was.

    Raises
    ------
    SchemaError
        A newer version of model_perf wrote it, or the detector is none of ours.
    """
    name = str(data.get("detector"))
    if name not in _DETECTORS:
        raise SchemaError(
            f"no detector {name!r} is known to this model_perf; upgrade it, or start a new detector (replace() of a "
            "stream that is kept)"
        )
    return _DETECTORS[name].from_dict(data)


def is_readable(detector: object) -> bool:
    """Whether `detector_from_dict` gives this detector back; one of another class it cannot make."""
    return type(detector) in _DETECTORS.values()
