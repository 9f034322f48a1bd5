"""Is a dump whole? Each kind of damage is found, and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dump_maker import make_dump, manifest

from cutaway.dump.verify import Finding, Report, verify
from cutaway.errors import SchemaError


@pytest.fixture(name="process")
def _process(tmp_path: Path) -> Path:
    return make_dump(tmp_path / "dump") / "run_001" / "rank_0_dp_0"


def check(process: Path) -> Report:
    [report] = verify(process)
    return report


def problems(process: Path) -> list[tuple[str, str]]:
    return [(each.kind, each.where) for each in check(process).findings if each.level == "problem"]


def rewrite(process: Path, events: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(event) + "\n" for event in events)
    (process / "manifest.jsonl").write_text(text, encoding="utf-8")


def edit(process: Path, number: int, **changes: Any) -> None:
    events = manifest(process)
    events[number].update(changes)
    rewrite(process, events)


def test_a_whole_dump(process: Path) -> None:
    report = check(process)
    assert report.ok
    assert report.complete
    assert [finding.level for finding in report.findings] == ["note"]
    announced = [file for event in manifest(process) for file in event.get("files", [])]
    assert report.files == len(announced)
    assert report.bytes == sum(file["bytes"] for file in announced)
    assert report.tables == len(list((process / "nodes").iterdir()))


def test_all_runs_and_processes(tmp_path: Path) -> None:
    root = make_dump(tmp_path / "dump", runs=2, ranks=2)
    assert [(report.run, report.process) for report in verify(root)] == [
        (run, rank) for run in ("run_001", "run_002") for rank in ("rank_0_dp_0", "rank_1_dp_0")
    ]
    assert [report.run for report in verify(root, run="run_001")] == ["run_001"] * 2
    assert [report.process for report in verify(root, rank="rank_1_dp_0")] == ["rank_1_dp_0"] * 2


def test_a_changed_byte(process: Path) -> None:
    path = process / "backbone/00.captured.py"
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    assert problems(process) == [("changed", "backbone/00.captured.py")]


def test_another_length(process: Path) -> None:
    path = process / "backbone/00.captured.py"
    path.write_bytes(path.read_bytes() + b"\n")
    assert problems(process) == [("changed", "backbone/00.captured.py")]


def test_a_missing_file(process: Path) -> None:
    (process / "backbone/execution_code").parent.joinpath("99.execution_code.py").unlink()
    assert problems(process) == [("missing", "backbone/99.execution_code.py")]


def test_a_path_that_leads_out(process: Path) -> None:
    file = {"kind": "raw", "path": "../../../secret", "bytes": 1, "digest": "0"}
    edit(process, 2, files=[*manifest(process)[2]["files"], file])
    assert problems(process) == [("unsafe", "../../../secret")]


def test_a_node_table_that_is_another_graph(process: Path) -> None:
    """Consistent with its digest, but not with its name."""
    events = manifest(process)
    file = events[2]["files"][2]
    path = process / file["path"]
    table = json.loads(path.read_text())
    table["nodes"][-2]["args"].append(1)
    path.write_text(json.dumps(table))
    digest_of(path, file)
    rewrite(process, events)
    assert set(problems(process)) == {("table", file["path"])}
    assert len(problems(process)) == 3


def test_a_node_table_with_a_bad_reference(process: Path) -> None:
    events = manifest(process)
    file = events[2]["files"][2]
    path = process / file["path"]
    table = json.loads(path.read_text())
    table["nodes"][-2]["args"] = [{"node": 12345}]
    path.write_text(json.dumps(table))
    digest_of(path, file)
    rewrite(process, events)
    assert problems(process) == [("table", file["path"])]


def digest_of(path: Path, file: dict[str, Any]) -> None:
    from hashlib import blake2b  # noqa: PLC0415  (one helper needs it)

    content = path.read_bytes()
    file.update(bytes=len(content), digest=blake2b(content, digest_size=16).hexdigest())


def test_a_gap_in_the_numbers(process: Path) -> None:
    events = manifest(process)
    del events[-2]
    rewrite(process, events)
    assert ("manifest", f"manifest.jsonl:{len(events)}") in problems(process)


def test_a_broken_line(process: Path) -> None:
    path = process / "manifest.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[-3] = b"{"
    path.write_bytes(b"\n".join(lines))
    assert ("manifest", f"manifest.jsonl:{len(lines) - 2}") in problems(process)


def test_a_torn_last_line_is_a_note(process: Path) -> None:
    path = process / "manifest.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 5])
    report = check(process)
    assert report.ok
    assert not report.complete
    assert any("torn" in finding.message for finding in report.findings)


def test_no_run_event(process: Path) -> None:
    events = [{**event, "seq": i} for i, event in enumerate(manifest(process)[1:])]
    rewrite(process, events)
    assert ("manifest", "manifest.jsonl:1") in problems(process)


def test_the_same_as_something_that_is_not_there(process: Path) -> None:
    edit(process, 3, same_as="backbone/never")
    assert problems(process) == [("reference", "backbone/before_split")]


def test_the_same_as_another_graph(process: Path) -> None:
    edit(process, 3, graph="0" * 32)
    assert problems(process) == [("reference", "backbone/before_split")]


def test_origins_that_do_not_fit(process: Path) -> None:
    edit(process, 3, **{"from": [None]})
    assert problems(process) == [("reference", "backbone/before_split")]


def test_two_of_one_name(process: Path) -> None:
    edit(process, 3, selector="backbone/captured")
    assert problems(process) == [("manifest", "backbone/captured")]


def test_another_number_of_nodes(process: Path) -> None:
    edit(process, 2, nodes=1)
    assert [kind for kind, _ in problems(process)] == ["table"]


def test_a_file_that_nothing_announces(process: Path) -> None:
    (process / "backbone/extra.py").write_text("")
    assert problems(process) == [("unannounced", "backbone/extra.py")]


def test_what_a_killed_process_leaves_is_worth_a_note(tmp_path: Path) -> None:
    process = make_dump(tmp_path / "dump", ended=False) / "run_001" / "rank_0_dp_0"
    (process / "backbone/extra.py").write_text("")
    (process / "backbone/.more.py.123.tmp").write_text("")
    report = check(process)
    assert report.ok
    assert not report.complete
    assert {(each.kind, each.where) for each in report.findings if each.kind != "manifest"} == {
        ("unannounced", "backbone/extra.py"),
        ("temporary", "backbone/.more.py.123.tmp"),
    }


def test_files_that_were_left_out_are_a_note(process: Path) -> None:
    events = manifest(process)
    last = next(event for event in events if event.get("selector") == "backbone.2/captured")
    for file in last["files"]:
        (process / file["path"]).unlink()
    last["files"] = []
    rewrite(process, events)
    report = check(process)
    assert report.ok
    assert Finding("note", "left-out", "backbone.2/captured", "its files were left out while recording") in (
        report.findings
    )


def test_a_newer_schema_is_an_error(process: Path) -> None:
    edit(process, 0, schema=2)
    with pytest.raises(SchemaError):
        verify(process)


def test_a_table_whose_fingerprint_cannot_be_computed(process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(table: dict[str, Any]) -> str:
        raise RecursionError("too deep")

    monkeypatch.setattr("cutaway.dump.verify.fingerprint", fail)
    findings = [finding for finding in check(process).findings if finding.kind == "table"]
    assert {finding.message for finding in findings} == {"its fingerprint cannot be computed: RecursionError: too deep"}
