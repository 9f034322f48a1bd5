"""A manifest that grows: however it is cut, what is read bit by bit is what is read at once."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.dump.folder import ProcessFolder
from cutaway.dump.manifest import Manifest
from cutaway.dump.schema import AnyEvent
from cutaway.errors import DumpError

RUN = {"event": "run", "seq": 0, "time": 0.0, "schema": 1, "cutaway": "0", "torch": "2", "python": "3", "pid": 1}
RUN |= {"rank": 0, "dp_rank": 0, "argv": [], "compilation": None}
METRIC = {"event": "metric", "time": 0.0, "compilation": "é", "kind": "compile_time", "values": {}}
LINES = [json.dumps(line, ensure_ascii=False) for line in (RUN, *({**METRIC, "seq": seq} for seq in range(1, 5)))]
WHOLE = "".join(f"{line}\n" for line in LINES).encode()


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_bit_by_bit_is_at_once(cuts: list[int]) -> None:
    first, *rest = [*sorted(cuts), len(WHOLE)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "manifest.jsonl")
        path.write_bytes(WHOLE[:first])
        manifest = Manifest(ProcessFolder(Path(folder)), AnyEvent)
        found = list(manifest.read()[0])
        taken = len(found)
        for end in rest:
            path.write_bytes(WHOLE[:end])
            events, notes, lines = manifest.read_on()
            assert (len(events), notes) == (lines, [])
            found += events
            taken += lines
        once = Manifest(ProcessFolder(Path(folder)), AnyEvent).read()[0]
        assert msgspec.json.encode(found) == msgspec.json.encode(once)
        assert taken == len(LINES)
        assert manifest.read_on() == ([], [], 0)


@pytest.mark.parametrize("ended", [True, False])
def test_a_line_that_breaks_later_is_called_by_its_number(tmp_path: Path, ended: bool) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n".join(LINES[:2]) + "\n" * ended)
    manifest = Manifest(ProcessFolder(tmp_path), AnyEvent)
    assert len(manifest.read()[0]) == 2
    path.write_text("\n".join([*LINES[:3], "{", LINES[3]]) + "\n")
    with pytest.raises(DumpError, match="broken in line 4"):
        manifest.read_on()
