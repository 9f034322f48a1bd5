"""Where warnings are errors, ours do not end the run."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from cutaway.record.warning import warn
from cutaway.vllm import adapter


def test_it_is_about_who_called() -> None:
    with pytest.warns(RuntimeWarning, match="^cutaway: something$") as caught:
        warn("something", above=0)
    assert caught[0].filename == __file__


def test_it_ends_nothing_as_an_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn("something")


def test_vllm_starts_though_it_cannot_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> None:
        raise RuntimeError("injected")

    monkeypatch.setattr(adapter, "record_process", fails)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert adapter.activate(str(tmp_path)) is None
    with pytest.warns(RuntimeWarning, match="vLLM will not be recorded: RuntimeError: injected"):
        assert adapter.activate(str(tmp_path)) is None


@pytest.mark.parametrize("flags", [[], ["-W", "error::RuntimeWarning"]])
def test_torch_is_imported_whatever_is_asked_for(tmp_path: Path, flags: list[str]) -> None:
    wanted = {"CUTAWAY_DUMP": str(tmp_path), "CUTAWAY_MAX_BYTES": "much"}
    code = "from cutaway.record.autostart import start; start(); print('goes on')"
    found = subprocess.run(
        [sys.executable, *flags, "-c", code],
        capture_output=True, text=True, check=True, env={**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0", **wanted},
    )  # fmt: skip
    assert found.stdout == "goes on\n"
    assert ("nothing will be recorded: CUTAWAY_MAX_BYTES is 'much'" in found.stderr) == (flags == [])
