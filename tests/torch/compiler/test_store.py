"""The store: what is put comes back or is refused, whatever happens to the folder."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from compiler.cache_tools import files_of
from hypothesis import given
from hypothesis import strategies as st
from recordings import in_child, kill, start_child

from cutaway.compiler.cache.entry import entry_text
from cutaway.compiler.cache.factors import key_of
from cutaway.compiler.cache.files import is_safe_name
from cutaway.compiler.cache.store import FACTORS, CacheRefusedError, Store

DOCUMENT = {"graph": {"fingerprint": "aa"}, "range": [1, 8]}
KEY = key_of(DOCUMENT)
CONTENT = {"code.py": b"print(1)\n", "deep/er/weights.bin": bytes(range(256)), "empty": b""}
FORMS = ("binary", "unpacked")


def filled(root: Path, form: str = "binary") -> Store:
    store = Store(root)
    assert store.put(KEY, CONTENT, DOCUMENT, {"seconds": 0.5}, form)
    return store


def content_of(store: Store, form: str = "binary", key: str = KEY) -> dict[str, bytes] | None:
    entry = store.get(key, form)
    return None if entry is None else {name: entry.read(name) for name in entry.files}


def in_folder(store: Store, form: str = "binary", writable: bool = True) -> dict[str, bytes]:
    entry = store.get(KEY, form)
    assert entry is not None
    with entry.folder(writable) as folder:
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return request.param


class TestWhatIsPut:
    def test_comes_back(self, tmp_path: Path, form: str) -> None:
        store = filled(tmp_path / "cache", form)
        assert content_of(store, form) == CONTENT
        assert in_folder(store, form) == in_folder(store, form, writable=False) == CONTENT
        entry = store.get(KEY, form)
        assert entry is not None
        assert (entry.facts, entry.form, entry.edited) == ({"seconds": 0.5}, form, ())
        assert store.factors(KEY) == DOCUMENT
        assert list(store.documents()) == [(KEY, DOCUMENT)]

    def test_is_not_there_before(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "cache")
        assert (store.get(KEY), store.factors(KEY), list(store.documents())) == (None, None, [])
        assert not (tmp_path / "cache").exists()

    def test_lies_beside_its_other_form(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        assert store.get(KEY, "unpacked") is None
        store.put(KEY, {"code.py": b"other"}, DOCUMENT, form="unpacked")
        assert content_of(store) == CONTENT
        assert content_of(store, "unpacked") == {"code.py": b"other"}

    def test_replaces_what_was_there(self, tmp_path: Path, form: str) -> None:
        store = filled(tmp_path, form)
        store.put(KEY, {"new.bin": b"new"}, DOCUMENT, form=form)
        assert content_of(store, form) == in_folder(store, form) == {"new.bin": b"new"}

    def test_lies_there_once_when_it_is_equal(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        before = len(list((tmp_path / "v1/objects").rglob("*")))
        store.put(key_of({"other": 1}), CONTENT, {"other": 1})
        assert len(list((tmp_path / "v1/objects").rglob("*"))) == before

    @pytest.mark.parametrize("key", ["", "../x", "g" * 64, KEY[:-1], KEY.upper()])
    def test_is_asked_for_by_a_digest_only(self, tmp_path: Path, key: str) -> None:
        assert filled(tmp_path).get(key) is None

    def test_may_be_written_by_a_function(self, tmp_path: Path, form: str) -> None:
        store = Store(tmp_path)

        def write(folder: Path) -> bool:
            (folder / "sub").mkdir()
            (folder / "sub/a").write_text("a")
            (folder / "link").symlink_to("/etc/hostname")
            return True

        assert store.save(KEY, write, DOCUMENT, form=form)
        assert content_of(store, form) == {"sub/a": b"a"}

    def test_is_nothing_when_that_function_says_so(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        assert not store.save(KEY, lambda folder: (folder / "a").write_text("a") == 0, DOCUMENT)
        assert store.get(KEY) is None
        assert files_of(tmp_path) == {}


class TestTheFolder:
    def test_may_be_moved(self, tmp_path: Path, form: str) -> None:
        filled(tmp_path / "one", form)
        (tmp_path / "two").mkdir()
        (tmp_path / "one").rename(tmp_path / "two/three")
        moved = Store(tmp_path / "two/three", read_only=True)
        assert content_of(moved, form) == in_folder(moved, form) == in_folder(moved, form, writable=False) == CONTENT

    def test_names_no_place(self, tmp_path: Path, form: str) -> None:
        filled(tmp_path / "here", form)
        assert [name for name, content in files_of(tmp_path).items() if str(tmp_path).encode() in content] == []

    def test_is_not_written_to_when_read_only(self, tmp_path: Path, form: str) -> None:
        filled(tmp_path, form)
        before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
        store = Store(tmp_path, read_only=True)
        assert content_of(store, form) == in_folder(store, form, writable=False) == CONTENT
        assert not store.put(KEY, {"a": b"b"}, DOCUMENT, form=form)
        assert not store.save(KEY, lambda folder: True, DOCUMENT, form=form)
        with store.locked(KEY, wait=False) as one, store.locked(KEY, wait=True) as other:
            assert (one, other) == (True, True)
        assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before

    def test_that_cannot_be_written_to_costs_one_warning(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        store = Store(tmp_path / "file" / "cache")
        assert store.get(KEY) is None
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            assert not store.put(KEY, CONTENT, DOCUMENT)
            assert not store.save(KEY, lambda folder: True, DOCUMENT)
            with store.locked(KEY, wait=False) as held:
                assert held
        assert ["nothing is written to the cache" in str(warning.message) for warning in seen] == [True]

    def test_on_a_disk_that_is_full_costs_one_warning_and_leaves_nothing(self, tmp_path: Path, form: str) -> None:
        filled(tmp_path, form)
        before = files_of(tmp_path)
        seen = in_child(_put_on_a_full_disk, tmp_path, form)
        assert len(seen) == 1
        assert "nothing is written to the cache" in seen[0]
        assert files_of(tmp_path) == before

    def test_loses_what_was_left_behind_long_ago(self, tmp_path: Path) -> None:
        filled(tmp_path)
        aside = tmp_path / "v1/tmp"
        (aside / "old-folder").mkdir()
        for name in ("old-folder/file", "old", "young"):
            (aside / name).write_text("half")
        for name in ("old-folder", "old"):
            os.utime(aside / name, (time.time() - 90000,) * 2)
        filled(tmp_path)
        assert [path.name for path in aside.iterdir()] == ["young"]


def _put_on_a_full_disk(root: Path, form: str) -> list[str]:
    """In a child: files may not grow beyond 4 KiB, so that a write ends in the middle as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    store = Store(root)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for index in range(3):
            assert not store.put(key_of({"large": index}), {"large": bytes(10000)}, {"large": index}, form=form)
    return [str(warning.message) for warning in seen]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "flipped": flipped,
    "emptied": lambda content: b"",
    "longer": lambda content: content + b"x",
}


def damaged_paths(root: Path) -> Iterator[Path]:
    """Every file of an entry that has something in it."""
    yield from (path for path in sorted(root.rglob("*")) if path.is_file() and path.stat().st_size)


class TestDamage:
    @pytest.mark.parametrize("damage", [*DAMAGES, "missing", "a folder", "a link", "a pipe"])
    def test_of_any_file_is_refused_by_name(self, tmp_path: Path, form: str, damage: str) -> None:
        filled(tmp_path / "whole", form)
        names = [path.relative_to(tmp_path / "whole") for path in damaged_paths(tmp_path / "whole")]
        assert len(names) == 4
        for index, name in enumerate(names):
            root = tmp_path / str(index)
            shutil.copytree(tmp_path / "whole", root)
            self.damage(root / name, damage)
            self.check(root, name, form, damage)

    def damage(self, path: Path, damage: str) -> None:
        content = path.read_bytes()
        path.unlink()
        if damage in DAMAGES:
            path.write_bytes(DAMAGES[damage](content))
        elif damage == "a folder":
            path.mkdir()
        elif damage == "a link":
            path.with_name("real").write_bytes(content)
            path.symlink_to("real")
        elif damage == "a pipe":
            os.mkfifo(path)

    def check(self, root: Path, name: Path, form: str, damage: str) -> None:
        store = Store(root)
        if damage == "missing" and name.suffix == ".json" and name.name != FACTORS:
            assert store.get(KEY, form) is None
        elif name.name == "code.py" and damage in ("truncated", "flipped", "longer"):
            entry = store.get(KEY, form)  # that is an edit: whether it runs is for the compiler to say
            assert entry is not None
            assert entry.edited == ("code.py",)
        else:
            with pytest.raises(CacheRefusedError) as refused:
                store.get(KEY, form)
            assert refused.value.path == root / name
        assert store.get(KEY, "binary" if form == "unpacked" else "unpacked") is None
        if (root / name).is_dir() or (root / name).is_fifo():
            return
        filled(root, form)
        assert content_of(Store(root), form) == CONTENT

    @pytest.mark.parametrize("position", range(0, 1000, 37))
    def test_of_any_bit_of_an_entry_is_refused(self, tmp_path: Path, position: int) -> None:
        filled(tmp_path)
        path = next(tmp_path.rglob("binary.json"))
        content = bytearray(path.read_bytes())
        content[position % len(content)] ^= 1 << position % 8
        path.write_bytes(content)
        try:
            entry = Store(tmp_path).get(KEY)
        except CacheRefusedError:
            return
        assert entry is not None  # white space
        assert json.loads(content) == json.loads(
            entry_text({k: v for k, v in json.loads(content).items() if k != "digest"})
        )


class TestAHostileEntry:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("files", {"/etc/passwd": {"sha256": "a" * 64, "size": 1}}),
            ("files", {"../../../../../x": {"sha256": "a" * 64, "size": 1}}),
            ("files", {"a/../b": {"sha256": "a" * 64, "size": 1}}),
            ("files", {"a\\b": {"sha256": "a" * 64, "size": 1}}),
            ("files", {"": {"sha256": "a" * 64, "size": 1}}),
            ("files", {"a\0": {"sha256": "a" * 64, "size": 1}}),
            ("files", {"a": {"sha256": "../" * 21 + "x", "size": 1}}),
            ("files", {"a": {"sha256": "a" * 63 + "/", "size": 1}}),
            ("files", {"a": {"sha256": "a" * 64}}),
            ("files", {"a": {"sha256": "a" * 64, "size": "1"}}),
            ("files", {"a": 3}),
            ("files", [["a", "b"]]),
            ("files", None),
            ("factors", None),
            ("facts", "text"),
            ("key", "b" * 64),
            ("form", "unpacked"),
            ("store", 2),
        ],
    )
    def test_is_refused_though_its_digest_is_right(self, tmp_path: Path, field: str, value: Any) -> None:
        filled(tmp_path)
        path = next(tmp_path.rglob("binary.json"))
        entry = json.loads(path.read_text())
        del entry["digest"]
        path.write_bytes(entry_text(entry | {field: value}))
        with pytest.raises(CacheRefusedError, match=r"binary\.json"):
            Store(tmp_path).get(KEY)

    @pytest.mark.parametrize(
        "text", ["", "[]", "null", "{", "{}", "__import__('os')", "[" * 100000, '{"a":' * 100000, "\xff", "1e999"]
    )
    def test_that_is_no_entry_is_refused(self, tmp_path: Path, text: str) -> None:
        filled(tmp_path)
        path = next(tmp_path.rglob("binary.json"))
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(CacheRefusedError, match=r"binary\.json"):
            Store(tmp_path).get(KEY)

    def test_whose_folder_is_a_link_is_refused(self, tmp_path: Path) -> None:
        filled(tmp_path, "unpacked")
        folder = tmp_path / "v1/unpacked" / KEY
        for part in (folder / "deep", folder):
            part.rename(tmp_path / "elsewhere")
            part.symlink_to(tmp_path / "elsewhere")
            with pytest.raises(CacheRefusedError, match="it is a link"):
                Store(tmp_path).get(KEY, "unpacked")
            part.unlink()
            (tmp_path / "elsewhere").rename(part)
        assert content_of(Store(tmp_path), "unpacked") == CONTENT

    @given(st.text(st.sampled_from("ab./\\\0"), max_size=8))
    def test_cannot_name_what_lies_outside(self, name: str) -> None:
        if is_safe_name(name):
            assert os.path.normpath(f"/root-of-all/{name}").startswith("/root-of-all/")
            assert os.path.normpath(name) == name


class TestAnEditedFile:
    def test_is_used_and_named(self, tmp_path: Path) -> None:
        store = filled(tmp_path, "unpacked")
        (tmp_path / "v1/unpacked" / KEY / "code.py").write_text("print(2)\n")
        entry = store.get(KEY, "unpacked")
        assert entry is not None
        assert (entry.edited, entry.read("code.py")) == (("code.py",), b"print(2)\n")
        for writable in (True, False):
            assert in_folder(store, "unpacked", writable)["code.py"] == b"print(2)\n"

    def test_is_kept_when_it_must_be_made_anew(self, tmp_path: Path) -> None:
        store = filled(tmp_path, "unpacked")
        folder = tmp_path / "v1/unpacked" / KEY
        for number, text in enumerate(["first edit", "second edit"]):
            (folder / "code.py").write_text(text)
            (folder / "built.so").write_text("by the compiler, of the edited code")
            store.put(KEY, CONTENT, DOCUMENT, form="unpacked")
            assert (folder / "code.py").read_bytes() == CONTENT["code.py"]
            kept = [path.read_text() for path in folder.glob("code.py.*.edited")]
            assert sorted(kept) == ["first edit", "second edit"][: number + 1]
            assert not (folder / "built.so").exists()
        assert content_of(store, "unpacked") == CONTENT

    def test_is_kept_even_when_the_entry_is_gone(self, tmp_path: Path) -> None:
        store = filled(tmp_path, "unpacked")
        (tmp_path / "v1/unpacked" / KEY / "code.py").write_text("edit")
        next(tmp_path.rglob("unpacked.json")).unlink()
        store.put(KEY, CONTENT, DOCUMENT, form="unpacked")
        assert [path.read_text() for path in tmp_path.rglob("code.py.*.edited")] == ["edit"]

    def test_is_damage_in_the_binary_form(self, tmp_path: Path) -> None:
        store = filled(tmp_path)
        path = next(
            path for path in (tmp_path / "v1/objects").rglob("*") if path.is_file() and b"print" in path.read_bytes()
        )
        path.write_text("print(2)\n")
        with pytest.raises(CacheRefusedError, match="digest"):
            store.get(KEY)


class TestSeveralProcesses:
    def test_hold_a_key_one_at_a_time(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        with store.locked(KEY, wait=False) as held:
            assert held
            assert not in_child(_lock, tmp_path, KEY)
            assert in_child(_lock, tmp_path, key_of({"other": 1}))
        assert in_child(_lock, tmp_path, KEY)

    def test_lose_what_they_hold_when_they_are_killed(self, tmp_path: Path) -> None:
        child = start_child(_lock_and_sleep, tmp_path)
        while not (tmp_path / "held").exists():
            time.sleep(0.01)
        with Store(tmp_path).locked(KEY, wait=False) as held:
            assert not held
        kill(child)
        with Store(tmp_path).locked(KEY, wait=True) as held:
            assert held

    @pytest.mark.parametrize("seed", range(6))
    def test_killed_in_the_middle_of_writing_leave_what_was_there_or_what_is_new(
        self, tmp_path: Path, form: str, seed: int
    ) -> None:
        filled(tmp_path, form)
        child = start_child(_put_again_and_again, tmp_path, form)
        while not (tmp_path / "begun").exists():
            time.sleep(0.002)
        time.sleep(random.Random(seed).uniform(0.01, 0.12))
        kill(child)
        found = content_of(Store(tmp_path), form)
        if found is None:
            assert form == "unpacked"  # a folder is replaced in two steps; between them it is not there
        elif found != CONTENT:
            assert {len(content) for content in found.values()} == {200_000}
            assert len({bytes(set(content)) for content in found.values()}) == 1
        filled(tmp_path, form)
        assert content_of(Store(tmp_path), form) == CONTENT

    def test_killed_at_every_step_of_a_write_leave_a_store_that_is_whole(self, tmp_path: Path, form: str) -> None:
        filled(tmp_path / "count", form)
        steps = in_child(_put_stopping_at, tmp_path / "count", form, 10**6)
        assert steps > 8
        for step in range(steps):
            root = tmp_path / str(step)
            filled(root, form)
            child = start_child(_put_stopping_at, root, form, step)
            while not (root / "stopped").exists():
                assert os.waitpid(child, os.WNOHANG) == (0, 0), "it came to an end"
                time.sleep(0.002)
            kill(child)
            found = content_of(Store(root), form)
            assert found in (CONTENT, {"new": b"new"}) or (found is None and form == "unpacked"), step
            filled(root, form)
            assert content_of(Store(root), form) == CONTENT

    def test_write_the_same_key_at_once(self, tmp_path: Path, form: str) -> None:
        children = [start_child(_put_some, tmp_path, form) for _ in range(4)]
        for child in children:
            os.waitpid(child, 0)
        assert len(list(tmp_path.glob("done-*"))) == 4
        found = content_of(Store(tmp_path), form)
        assert found is not None
        assert len(found) == 3
        assert list((tmp_path / "v1/tmp").iterdir()) == []


def _lock(root: Path, key: str) -> bool:
    with Store(root).locked(key, wait=False) as held:
        return held


def _lock_and_sleep(root: Path) -> None:
    with Store(root).locked(KEY, wait=False):
        (root / "held").touch()
        time.sleep(60)


def _put_again_and_again(root: Path, form: str) -> None:
    store = Store(root)
    for index in range(100_000):
        content = bytes([index % 256]) * 200_000
        store.put(KEY, dict.fromkeys(CONTENT, content), DOCUMENT, form=form)
        (root / "begun").touch()


def _put_some(root: Path, form: str) -> None:
    """As the manager does: with the key held."""
    store = Store(root)
    for index in range(12):
        with store.locked(KEY, wait=True):
            assert store.put(KEY, {name: bytes([index]) * 9 for name in CONTENT}, DOCUMENT, form=form)
            assert content_of(store, form) == {name: bytes([index]) * 9 for name in CONTENT}
    (root / f"done-{os.getpid()}").touch()


def _put_stopping_at(root: Path, form: str, step: int) -> int:
    """Write, and stop for good before the given call of the operating system that changes something."""
    names = ("replace", "rename", "unlink", "mkdir", "rmdir", "fsync", "link", "symlink")
    count = [0]

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if count[0] == step:
                (root / "stopped").write_text("")
                time.sleep(60)
            count[0] += 1
            return original(*args, **kwargs)

        return call

    for name in names:
        setattr(os, name, counted(getattr(os, name)))
    Store(root).put(KEY, {"new": b"new"}, DOCUMENT, form=form)
    return count[0]
