"""The writer: folders nobody else has, files complete or absent, a manifest without torn lines."""

from __future__ import annotations

import json
import os
import resource
import threading
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from cutaway.record import writer as writer_module
from cutaway.record.writer import RUN_VARIABLE, DumpWriter, claim_folder, claim_run


@pytest.fixture
def writer(tmp_path: Path) -> DumpWriter:
    return DumpWriter(tmp_path)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestFolders:
    def test_are_numbered_and_made(self, tmp_path: Path) -> None:
        root = tmp_path / "some" / "where"
        names = [claim_run(root, share=False).name for _ in range(3)]
        assert names == ["run_001", "run_002", "run_003"]
        assert all((root / name).is_dir() for name in names)

    def test_a_gap_is_filled_but_nothing_is_taken_twice(self, tmp_path: Path) -> None:
        (tmp_path / "run_001").mkdir()
        (tmp_path / "run_003").mkdir()
        assert [claim_run(tmp_path, share=False).name for _ in range(2)] == ["run_002", "run_004"]

    def test_a_file_of_that_name_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "run_001").write_text("mine")
        assert claim_run(tmp_path, share=False).name == "run_002"
        assert (tmp_path / "run_001").read_text() == "mine"

    def test_no_two_threads_get_the_same(self, tmp_path: Path) -> None:
        found: list[Path] = []
        threads = [
            threading.Thread(target=lambda: found.append(claim_folder(tmp_path, "rank_0", "rank_0.{}")))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 16
        assert {path.name for path in found} == {"rank_0", *(f"rank_0.{n}" for n in range(2, 17))}

    def test_a_parent_that_is_no_folder_is_an_os_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError, match=r"Not a directory|File exists"):
            claim_run(tmp_path / "file" / "dump", share=False)


class TestSharedRun:
    @pytest.fixture(autouse=True)
    def _clean(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(RUN_VARIABLE, "")

    def test_is_handed_down_in_the_environment(self, tmp_path: Path) -> None:
        first = claim_run(tmp_path, share=True)
        assert os.environ[RUN_VARIABLE] == f"{tmp_path}{os.pathsep}run_001"
        assert claim_run(tmp_path, share=True) == first

    def test_of_another_path_is_not_joined(self, tmp_path: Path) -> None:
        claim_run(tmp_path / "a", share=True)
        claim_run(tmp_path / "a", share=False)
        other = claim_run(tmp_path / "b", share=True)
        assert other == tmp_path / "b" / "run_001"

    def test_is_not_joined_by_a_recording_of_its_own(self, tmp_path: Path) -> None:
        claim_run(tmp_path, share=True)
        assert claim_run(tmp_path, share=False).name == "run_002"

    def test_is_made_again_when_somebody_deleted_it(self, tmp_path: Path) -> None:
        claim_run(tmp_path, share=True).rmdir()
        assert claim_run(tmp_path, share=True).is_dir()

    def test_a_private_run_hands_nothing_down(self, tmp_path: Path) -> None:
        claim_run(tmp_path, share=False)
        assert os.environ[RUN_VARIABLE] == ""


class TestFiles:
    def test_what_is_announced_is_what_was_written(self, writer: DumpWriter) -> None:
        entry = writer.write("raw", "f/00.captured.py", "größe = '∞'\n")
        assert entry is not None
        content = (writer.folder / "f" / "00.captured.py").read_bytes()
        assert content.decode() == "größe = '∞'\n"
        digest = blake2b(content, digest_size=16).hexdigest()
        assert entry == {"kind": "raw", "path": "f/00.captured.py", "bytes": len(content), "digest": digest}

    def test_text_that_is_no_unicode_is_escaped(self, writer: DumpWriter) -> None:
        writer.write("raw", "odd.py", "name = '\udcff'")
        assert (writer.folder / "odd.py").read_bytes() == b"name = '\\udcff'"

    def test_a_file_is_complete_or_absent(self, writer: DumpWriter, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[bool, str]] = []
        rename = os.replace

        def watched(aside: Path, target: Path) -> None:
            seen.append((target.exists(), aside.read_text()))
            rename(aside, target)

        monkeypatch.setattr(writer_module.os, "replace", watched)
        writer.write("raw", "a.py", "x = 1\n")
        assert seen == [(False, "x = 1\n")]
        assert files(writer.folder) == ["a.py", "manifest.jsonl"]

    def test_a_failed_write_leaves_nothing_and_ends_the_writing_of_files(
        self, writer: DumpWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(aside: Path, target: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(writer_module.os, "replace", refuse)
        with pytest.raises(OSError, match="No space left"):
            writer.write("raw", "a.py", "x = 1\n")
        monkeypatch.undo()
        assert writer.write("raw", "b.py", "x = 2\n") is None
        assert writer.files_left_out == 1
        assert files(writer.folder) == ["manifest.jsonl"]

    def test_a_folder_where_a_file_should_be(self, writer: DumpWriter) -> None:
        (writer.folder / "a.py").mkdir()
        with pytest.raises(OSError, match=r"a\.py"):
            writer.write("raw", "a.py", "x = 1\n")
        assert files(writer.folder) == ["manifest.jsonl"]

    def test_max_bytes_leaves_files_out_that_do_not_fit(self, tmp_path: Path) -> None:
        writer = DumpWriter(tmp_path, max_bytes=10)
        assert writer.write("raw", "a", "12345678")
        assert writer.write("raw", "b", "123") is None
        assert writer.write("raw", "c", "12")
        assert writer.write("raw", "d", "1") is None
        assert (writer.bytes_written, writer.files_left_out) == (10, 2)
        assert files(tmp_path) == ["a", "c", "manifest.jsonl"]

    def test_max_bytes_does_not_count_pages(self, tmp_path: Path) -> None:
        writer = DumpWriter(tmp_path, max_bytes=4)
        assert writer.write("index", "index.md", "a page of some length", announce=False)
        assert writer.write("raw", "a", "1234")


class TestManifest:
    def test_lines_are_numbered_and_dated(self, writer: DumpWriter) -> None:
        writer.event("run", pid=1)
        writer.event("metric", values={"größe": "∞", "odd": {1, 2}.__class__})
        first, second = lines(writer.folder)
        assert (first["seq"], first["event"], first["pid"]) == (0, "run", 1)
        assert second["seq"] == 1
        assert second["values"]["größe"] == "∞"
        assert second["time"] >= first["time"] > 1.7e9

    def test_it_is_appended_to(self, tmp_path: Path) -> None:
        DumpWriter(tmp_path).event("run")
        DumpWriter(tmp_path).event("run")
        assert len(lines(tmp_path)) == 2

    def test_a_line_stays_one_line(self, writer: DumpWriter) -> None:
        writer.event("error", traceback="one\ntwo\r\n\u2028three\udcff")
        assert (writer.folder / "manifest.jsonl").read_bytes().count(b"\n") == 1

    def test_nothing_after_close(self, writer: DumpWriter) -> None:
        writer.event("run")
        writer.close()
        writer.close()
        writer.event("end")
        assert len(lines(writer.folder)) == 1

    def test_a_child_does_not_write_into_its_parents(self, writer: DumpWriter) -> None:
        writer.event("run")
        child = os.fork()
        if child == 0:
            writer.event("run")
            os._exit(0)
        os.waitpid(child, 0)
        assert len(lines(writer.folder)) == 1

    def test_lines_of_many_threads_do_not_mix(self, writer: DumpWriter) -> None:
        def write() -> None:
            for _ in range(50):
                writer.event("metric", text="x" * 5000)

        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [line["seq"] for line in lines(writer.folder)] == list(range(400))

    def test_a_torn_line_is_taken_back(self, tmp_path: Path) -> None:
        """A real refusal in the middle of a line: the kernel writes a part of it at the size limit."""
        child = os.fork()
        if child == 0:
            os._exit(_write_until_refused(tmp_path))
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        found = lines(tmp_path)
        assert [line["seq"] for line in found] == list(range(len(found)))
        assert 1 < len(found) < 9


def _write_until_refused(folder: Path) -> int:
    import signal  # noqa: PLC0415  (in the child alone)

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    writer = DumpWriter(folder)
    try:
        for _ in range(9):
            writer.event("metric", text="x" * 100)
    except OSError:
        return 7
    return 0
