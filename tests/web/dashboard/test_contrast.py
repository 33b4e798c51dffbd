"""Text and marks stand out from what is behind them, in both schemes: WCAG 2.2, 1.4.3 and 1.4.11."""

from __future__ import annotations

import re

import pytest
from tests.pages import ROOT

STYLE = (ROOT / "src" / "model_perf" / "web" / "static" / "style.css").read_text(encoding="utf-8")
BEHIND = ("page", "surface", "raised", "sunken")
TEXT = [(text, behind) for text in ("text", "muted", "accent", "critical", "ok") for behind in BEHIND[:3]]
TEXT += [(state, f"{state}-soft") for state in ("ok", "warning", "critical", "unknown", "info")]
TEXT += [("muted", "sunken"), ("accent-text", "accent"), ("accent-text", "critical"), ("page", "text")]
TEXT += [(text, "accent-soft") for text in ("text", "muted", "accent")]
MARKS = ["series-1", "series-2", "series-3", "series-4", "trend", "critical", "muted", "of-reference", "of-current"]


def schemes() -> dict[str, dict[str, str]]:
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)
    )
    return {"light": light, "dark": light | dark}


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_is_wcags() -> None:
    """Black on white is 21:1 by definition; #767676 on white is the known limit of 4.5:1 (4.54)."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_stand_out(scheme: str) -> None:
    """Text 4.5:1, lines and bars 3:1; nothing is faded by opacity, but what cannot be pressed."""
    colours = schemes()[scheme]
    weak = {
        (text, behind): round(found, 2)
        for text, behind in TEXT
        if (found := contrast(colours[text], colours[behind])) < 4.5
    }
    assert weak == {}
    assert {mark for mark in MARKS if contrast(colours[mark], colours["surface"]) < 3} == set()
    faded = re.findall(r"^([^{}@\n]+)\{[^}]*opacity: 0", STYLE, re.M)
    assert [each.strip() for each in faded] == ["button:disabled", ".interval .range"]
