"""Functions of the host that the command line names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from model_perf import InvalidInputError, MonitoringPolicy
from model_perf._loading import load, load_options


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("tests.hosts_training", "is not module:function"),
        (":register", "is not module:function"),
        (".:register", "is not module:function"),
        ("..trainers:register", "is not module:function"),
        ("tests/hosts_training.py:register", "is not module:function"),
        ("tests.hosts_training:nobody", "has no function 'nobody'"),
        ("tests.hosts_training:__name__", "has no function '__name__'"),
    ],
)
def test_what_names_no_function_is_refused(path: str, text: str) -> None:
    """By what is wrong with it."""
    with pytest.raises(InvalidInputError, match=text):
        load(path, "trainers")


def test_modules_are_found_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A console script has its own directory on the path, and not the one that it is called in."""
    (tmp_path / "trainers_of_a_test.py").write_text("def register(tracker): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", os.getcwd())])
    assert load("trainers_of_a_test:register", "trainers").__module__ == "trainers_of_a_test"


def test_options_are_those_of_a_tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dict of them; anything else is refused with the names that there are."""
    (tmp_path / "options_of_a_test.py").write_text(
        "from model_perf import MonitoringPolicy\n"
        "def good(): return {'policy': MonitoringPolicy(max_attempts=7)}\n"
        "def misspelt(): return {'polcy': None, 'token': 's3cret'}\n"
        "def other(): return 7\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load_options(None) == {}
    assert load_options("options_of_a_test:good") == {"policy": MonitoringPolicy(max_attempts=7)}
    for name in ("misspelt", "other"):
        with pytest.raises(InvalidInputError, match="give a dict of policy, channels") as refused:
            load_options(f"options_of_a_test:{name}")
        assert "s3cret" not in str(refused.value)
