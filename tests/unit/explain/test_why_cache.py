"""Why a cache missed: what differs between keys in words, what is in vLLM's cache folder, what a dump says."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from dump_maker import DumpMaker
from hypothesis import given
from hypothesis import strategies as st

from cutaway.cli import main
from cutaway.errors import ExplainError
from cutaway.explain.cache import explain_cache
from cutaway.explain.cache.differences import differences, distance
from cutaway.explain.cache.folders import FACTORS, NOTES, folder_at, open_folder
from cutaway.explain.cache.inspect import check_vllm, entries_of_vllm
from cutaway.explain.cache.key import Key, leaves
from cutaway.record.kept.notes import Notes, changed_lines, read_notes, write_notes

QWEN = "/lib/vllm/models/qwen3.py"
LINES = "\n".join(f"line {number}" for number in range(1, 301)) + "\n"
EDITED = LINES.replace("line 214\n", "line 214 * 2\n")


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def factors(**changes: Any) -> dict[str, Any]:
    """What is noted of a key of vLLM's, as small as it can be; ``changes`` are sections."""
    found: dict[str, Any] = {
        "versions": {"vllm": "0.32.0"},
        "env": {"VLLM_RAY_BUNDLE_INDICES": "0", "VLLM_USE_AOT_COMPILE": True, "VLLM_X": None},
        "config": {
            "ParallelConfig": {"tensor_parallel_size": 1},
            "ModelConfig": {"model": "/models/qwen3", "dtype": "torch.float32"},
            "CompilationConfig": {"pass_config": "a" * 64, "custom_ops": ["none"]},
            "SchedulerConfig": {"max_num_seqs": 8, "digest": "b" * 32},
        },
        "compiler": {
            "system": {"device.name": "cpu"},
            "torch": {"sources": "c" * 64},
            "torch._inductor.config": {"all": "d" * 16},
        },
        "files": {QWEN: digest(LINES), "/lib/torch/nn/linear.py": "f" * 16},
    }
    return {**found, **{name: {**found[name], **part} for name, part in changes.items()}}


def key(name: str = "1111111111", made: float = 1.0, text: str = LINES, **changes: Any) -> Key:
    return Key("vllm", name, made, factors(**changes), sources={QWEN: text})


def words(old: Key, new: Key) -> list[str]:
    return [one.words for one in differences(old, new)]


class TestDifferences:
    def test_of_a_variable(self) -> None:
        assert words(key(), key(env={"VLLM_RAY_BUNDLE_INDICES": "1"})) == ["env VLLM_RAY_BUNDLE_INDICES: '0' → '1'"]

    def test_of_a_variable_that_was_not_set(self) -> None:
        assert words(key(), key(env={"VLLM_X": 4})) == ["env VLLM_X: not set → 4"]

    def test_of_a_flag(self) -> None:
        changed = key(config={"ParallelConfig": {"tensor_parallel_size": 2}})
        assert words(key(), changed) == ["option ParallelConfig.tensor_parallel_size: 1 → 2"]

    def test_of_a_line(self) -> None:
        edited = key(text=EDITED, files={QWEN: digest(EDITED)})
        assert words(key(), edited) == ["qwen3.py line 214 changed: line 214 → line 214 * 2"]

    def test_of_a_file_whose_text_was_not_kept(self) -> None:
        (said,) = words(Key("vllm", "1", 1.0, factors()), key(files={QWEN: digest(EDITED)}, text=EDITED))
        assert said.startswith("qwen3.py changed; in which lines is not known")

    def test_of_a_folder_that_moved(self) -> None:
        moved = key(config={"ModelConfig": {"model": "/mnt/other/qwen3", "dtype": "torch.float32"}})
        (found,) = differences(key(), moved)
        assert found.kind == "folder"
        assert found.words == "ModelConfig.model: the folder has moved: '/models/qwen3' → '/mnt/other/qwen3'"

    def test_of_code_that_moved_and_was_edited_there(self) -> None:
        there = {path.replace("/lib", "/opt"): value for path, value in factors()["files"].items()}
        new_path = QWEN.replace("/lib", "/opt")
        plain = factors()
        plain["files"] = {**there, new_path: digest(EDITED)}
        moved = Key("vllm", "2", 2.0, plain, sources={new_path: EDITED})
        assert words(key(), moved) == [
            "qwen3.py line 214 changed: line 214 → line 214 * 2",
            "the model's code has moved: /lib → /opt (2 traced files, 1 with the same contents)",
        ]

    def test_of_another_option_of_torch(self) -> None:
        other = key(compiler={"torch._inductor.config": {"all": "e" * 16, "max_autotune": "True"}})
        assert words(key(), other) == ["torch option torch._inductor.config.max_autotune: its default → 'True'"]

    def test_of_versions(self) -> None:
        other = key(versions={"vllm": "0.33.0"}, compiler={"torch": {"sources": "9" * 64}})
        assert words(key(), other) == [
            "torch's own compiler was changed: other sources under the same name",
            "vllm: '0.32.0' → '0.33.0'",
        ]

    def test_a_part_whose_own_digest_is_the_same_does_not_count(self) -> None:
        assert words(key(), key(config={"SchedulerConfig": {"max_num_seqs": 9, "digest": "b" * 32}})) == []
        other = key(config={"SchedulerConfig": {"max_num_seqs": 9, "digest": "0" * 32}})
        assert words(key(), other) == ["option SchedulerConfig.max_num_seqs: 8 → 9"]

    def test_a_digest_of_what_is_listed_is_not_said_again(self) -> None:
        other = key(config={"CompilationConfig": {"pass_config": "1" * 64, "custom_ops": ["all"]}})
        assert words(key(), other) == ['option CompilationConfig.custom_ops: ["none"] → ["all"]']

    def test_without_notes_the_digests_are_told(self) -> None:
        bare = {"env": {}, "config_hash": "a" * 10, "code_hash": "b" * 64, "compiler_hash": "c" * 10}
        one, other = Key("vllm", "1", 1.0, bare), Key("vllm", "2", 2.0, {**bare, "config_hash": "d" * 10})
        (said,) = words(one, other)
        assert said.startswith("vLLM's configuration: aaaaaaaaaa → dddddddddd, and vLLM keeps no more")

    def test_an_edited_file_is_nearer_than_another_graph(self) -> None:
        edited = differences(key(), key(text=EDITED, files={QWEN: digest(EDITED)}))
        graphs = [
            Key("cutaway", "1", 1.0, {"graph": {"fingerprint": one, "ops": {"mul": n}}}) for one, n in ("a1", "b2")
        ]
        other = differences(*graphs)
        assert [one.words for one in other] == ["another graph: mul 1 → 2"]
        assert distance(edited) < distance(other)

    @given(st.sampled_from(sorted(".".join(path) for path, _ in leaves(factors()))))
    def test_any_one_factor_is_named(self, name: str) -> None:
        """Except what a part's own digest says does not count."""
        changed = json.loads(json.dumps(factors()))
        path = next(path for path, _ in leaves(factors()) if ".".join(path) == name)
        place = changed
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = "f00" if not isinstance(place[path[-1]], list) else ["f00"]
        found = differences(key(), Key("vllm", "2", 2.0, changed, sources={QWEN: LINES}))
        if name == "config.SchedulerConfig.max_num_seqs":
            assert not found
        else:
            assert len(found) == 1
            assert found[0].factor == name

    @given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
    def test_a_key_differs_from_itself_in_nothing(self, anything: Any) -> None:
        one = Key("cutaway", "1", 1.0, {"graph": anything, "torch": {"x": anything}, "model": {"y": anything}})
        assert differences(one, one) == []


class TestNotes:
    def test_come_back(self, tmp_path: Path) -> None:
        notes = Notes(factors(), {QWEN: LINES}, {"key": "1"})
        write_notes(tmp_path / NOTES, notes)
        assert read_notes(tmp_path / NOTES) == notes
        assert [path.name for path in tmp_path.iterdir()] == [NOTES]

    @pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"{}", b"\x1f\x8b\x08\x00garbage"])
    def test_damaged_are_no_notes(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / NOTES).write_bytes(content)
        assert read_notes(tmp_path / NOTES) is None

    @given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
    def test_lines_that_changed(self, old: list[str], new: list[str]) -> None:
        found = changed_lines("\n".join(old), "\n".join(new))
        assert bool(found) == (old != new)
        assert all(one["new"] in (None, new[one["line"] - 1 : one["line"]][0] if one["new"] else None) for one in found)


def vllm_entry(root: Path, made: float, notes: bool = True, text: str = LINES, **changes: Any) -> str:
    """An entry as vLLM writes it, with what the recorder keeps beside it."""
    full = factors(**changes)
    digests = {
        f"{name}_hash": digest(json.dumps(full[part], sort_keys=True))
        for name, part in (("config", "config"), ("code", "files"), ("compiler", "compiler"))
    }
    environment = sha256(json.dumps(full["env"], sort_keys=True).encode()).hexdigest()
    parts = [environment, digests["config_hash"], digests["code_hash"], digests["compiler_hash"]]
    name = sha256(str(parts).encode()).hexdigest()[:10]
    folder = root / "torch_compile_cache" / name / "rank_0_0" / "backbone"
    folder.mkdir(parents=True)
    (folder / FACTORS).write_text(json.dumps({"env": full["env"], **digests}))
    os.utime(folder / FACTORS, (made, made))
    if notes:
        write_notes(folder / NOTES, Notes(full, {QWEN: text}, {"model": "qwen3", "key": name}))
    return name


class TestAFolderOfVllm:
    def test_each_entry_is_held_against_the_nearest_before_it(self, tmp_path: Path) -> None:
        vllm_entry(tmp_path, 10.0, config={"ParallelConfig": {"tensor_parallel_size": 4}}, env={"VLLM_X": 3})
        first = vllm_entry(tmp_path, 20.0)
        last = vllm_entry(tmp_path, 30.0, env={"VLLM_RAY_BUNDLE_INDICES": "1"})
        newest, older = explain_cache(tmp_path)
        assert (newest.key, newest.nearest[0].key, newest.of) == (last, first, ("qwen3",))
        assert newest.words == ("env VLLM_RAY_BUNDLE_INDICES: '0' → '1'",)
        assert [len(one.differences) for one in newest.nearest] == [1, 3]
        assert older.key == first

    def test_one_entry_alone_missed_nothing(self, tmp_path: Path) -> None:
        vllm_entry(tmp_path, 10.0)
        assert explain_cache(tmp_path) == []
        assert explain_cache(tmp_path / "torch_compile_cache") == []

    def test_what_is_there(self, tmp_path: Path) -> None:
        name = vllm_entry(tmp_path, 10.0)
        (one,) = entries_of_vllm(open_folder(tmp_path))
        assert (one.key, one.kind, one.model, one.ranks, one.recorded) == (name, "graphs", "qwen3", ("rank_0_0",), True)
        assert list(check_vllm(open_folder(tmp_path))) == []

    def test_factors_that_were_changed_are_found(self, tmp_path: Path) -> None:
        """A key that lacks a factor, or a file that somebody has put there."""
        name = vllm_entry(tmp_path, 10.0)
        path = tmp_path / "torch_compile_cache" / name / "rank_0_0" / "backbone" / FACTORS
        path.write_text(path.read_text().replace('"0"', '"7"'))
        ((key, why),) = check_vllm(open_folder(tmp_path))
        assert key == name
        assert "is of another key" in why

    def test_what_was_cut_short_is_found(self, tmp_path: Path) -> None:
        name = vllm_entry(tmp_path, 10.0)
        (tmp_path / "torch_compile_cache" / name / "inductor.so").touch()
        whole = tmp_path / "torch_compile_cache" / "torch_aot_compile" / "abc" / "rank_0_0"
        whole.mkdir(parents=True)
        assert {why.partition(" is ")[2].partition(":")[0] for _, why in check_vllm(open_folder(tmp_path))} == {
            "empty",
            "missing",
        }

    def test_no_cache_is_said_to_be_none(self, tmp_path: Path) -> None:
        assert folder_at(tmp_path) is None
        with pytest.raises(ExplainError, match="torch_compile_cache"):
            explain_cache(tmp_path)


class TestADump:
    AT = 1.7e9

    def dump(self, tmp_path: Path, cache: Path, aot: dict[str, Any], **changes: Any) -> Path:
        """A run that was not served, as vLLM's adapter records one."""
        maker = DumpMaker(tmp_path / "dump" / "run_001" / "rank_0_dp_0")
        maker.compilation("backbone")
        maker.event("cache", "backbone", kind="vllm_aot", result="miss", key="a" * 64, factors=aot)
        facts = {"folder": str(cache), "model": "qwen3", "part": "backbone"}
        noted = {**factors(**changes), "facts": facts}
        maker.event("cache", "backbone", kind="vllm_key", result="miss", key="9" * 10, factors=noted)
        maker.event("end", "backbone")
        maker.event("end")
        return tmp_path / "dump"

    def test_names_the_factor(self, tmp_path: Path) -> None:
        vllm_entry(tmp_path / "cache", self.AT - 100)
        vllm_entry(tmp_path / "cache", self.AT + 100, env={"VLLM_X": 9})  # later: it was not there to be found
        changes: dict[str, Any] = {"env": {"VLLM_RAY_BUNDLE_INDICES": "1"}}
        (miss,) = explain_cache(self.dump(tmp_path, tmp_path / "cache", {"artifact": "is not there"}, **changes))
        assert miss.of == ("backbone",)
        assert miss.words == ("env VLLM_RAY_BUNDLE_INDICES: '0' → '1'",)
        assert len(miss.nearest) == 1

    def test_names_the_lines_for_which_an_artifact_was_refused(self, tmp_path: Path) -> None:
        """vLLM's key of a whole model lacks the traced files: it looks at them when it has loaded the artifact."""
        aot = {"reason": "Source code has changed", "files": {QWEN: changed_lines(LINES, EDITED)}}
        (miss,) = explain_cache(self.dump(tmp_path, tmp_path / "cache", aot))
        assert miss.words == ("qwen3.py line 214 changed: line 214 → line 214 * 2",)
        assert "refused it" in miss.reason

    def test_the_first_compile_of_all_is_said_to_be_that(self, tmp_path: Path) -> None:
        (tmp_path / "cache" / "torch_compile_cache").mkdir(parents=True)
        (miss,) = explain_cache(self.dump(tmp_path, tmp_path / "cache", {"artifact": "is not there"}))
        assert "held nothing of this part before" in miss.reason

    def test_a_cache_that_is_gone_is_asked_for(self, tmp_path: Path) -> None:
        dump = self.dump(tmp_path, tmp_path / "cache", {"artifact": "is not there"})
        (miss,) = explain_cache(dump)
        assert "--cache" in miss.reason
        vllm_entry(tmp_path / "moved", self.AT - 100, env={"VLLM_X": 9})
        (miss,) = explain_cache(dump, tmp_path / "moved")
        assert miss.words == ("env VLLM_X: 9 → not set",)

    def test_no_miss_is_none(self, tmp_path: Path) -> None:
        maker = DumpMaker(tmp_path / "dump" / "run_001" / "rank_0_dp_0")
        maker.compilation("backbone")
        maker.event("cache", "backbone", kind="vllm_aot", result="hit", key="a" * 64)
        maker.event("end")
        assert explain_cache(tmp_path / "dump") == []

    def test_pieces_that_missed_for_one_reason_are_one(self, tmp_path: Path) -> None:
        entries = tmp_path / "ours" / "v1" / "entries"
        maker = DumpMaker(tmp_path / "dump" / "run_001" / "rank_0_dp_0")
        maker.compilation("backbone")
        for number, name in enumerate(("piece_00", "piece_02")):
            old = {"graph": {"fingerprint": name}, "torch": {"threads": 1}, "options": {}}
            (folder := entries / "aa" / (str(number) * 64)).mkdir(parents=True)
            (folder / FACTORS).write_text(json.dumps(old))
            os.utime(folder / FACTORS, (1.0, 1.0))
            new = {**old, "torch": {"threads": 2}}
            maker.event(
                "cache", "backbone", kind="cutaway_piece", result="miss", key="f" * 64, factors=new, piece=name,
                range="1_16",
            )  # fmt: skip
        maker.event("end")
        (miss,) = explain_cache(tmp_path / "dump", tmp_path / "ours")
        assert miss.of == ("backbone/piece_00 for 1_16", "backbone/piece_02 for 1_16")
        assert miss.words == ("machine: threads: 1 → 2",)


class TestTorch:
    """A plain torch.compile: its caches keep no factors, earlier recordings do."""

    LINES = (
        "[aaaa] gm: <lambda>()\n\ndef forward(self, x):\n    return x",
        "[bbbb] example_inputs[0]: TensorMetadata(dtype=torch.float32, shape=torch.Size([8]), stride=(1,))",
        "[cccc] fx_kwargs[is_backward]: False",
        "[dddd] inductor_config[epilogue_fusion]: True",
        "[eeee] inductor_config[max_autotune]: <function f at 0x1>",
        "[ffff] torch_version: \ufffd\ufffd",
    )

    def run(self, root: Path, number: int, key: str | None, *changes: tuple[str, str], **event: Any) -> Path:
        """A run that asked for a graph; in its key these lines are others."""
        maker = DumpMaker(root / "dump" / f"run_{number:03d}" / "rank_0_dp_0")
        maker.compilation("f")
        lines: list[str] = list(self.LINES)
        for old, new in changes:
            (at,) = (at for at, line in enumerate(lines) if old in line)
            lines[at] = f"[{number}{number}] {lines[at][7:].replace(old, new)}"
        made = {"kind": "fx_graph", "result": "miss", "key": key, "factors": lines, **event}
        maker.event("cache", "f", **made)
        maker.event("end")
        return root / "dump"

    def test_it_is_held_against_earlier_runs(self, tmp_path: Path) -> None:
        self.run(tmp_path, 1, "1" * 12, ("shape=torch.Size([8])", "shape=torch.Size([9])"), ("gm: <", "gm: <<"))
        self.run(tmp_path, 2, "2" * 12)
        self.run(tmp_path, 3, "2" * 12, result="hit")
        dump = self.run(tmp_path, 4, "3" * 12, ("epilogue_fusion]: True", "epilogue_fusion]: False"))
        (miss,) = explain_cache(dump)
        assert (miss.cache, miss.of) == ("fx_graph", ("f",))
        assert miss.words == ("torch._inductor.config.epilogue_fusion: True → False",)
        assert [one.of for one in miss.nearest] == ["f in run_002", "f in run_001"]
        assert [one.words for one in miss.nearest[1].differences][:2] == [
            "another graph",
            "torch._inductor.config.epilogue_fusion: True → False",
        ]
        assert "input 0: shape torch.Size([9]) → torch.Size([8])" in [one.words for one in miss.nearest[1].differences]

    def test_digests_count_and_no_text_with_an_address(self, tmp_path: Path) -> None:
        self.run(tmp_path, 1, "1" * 12)
        lines = [line.replace("0x1", "0x2").replace("ffff", "gggg") for line in self.LINES]
        dump = self.run(tmp_path, 2, "2" * 12, factors=lines)
        assert [miss.words for miss in explain_cache(dump)] == [("another build of torch",)]

    def test_the_first_is_said_to_be_that(self, tmp_path: Path) -> None:
        (miss,) = explain_cache(self.run(tmp_path, 1, "1" * 12))
        assert "record both starts" in miss.reason
        assert main(["why", "cache", str(tmp_path / "dump")]) == 1

    def test_an_entry_that_went_is_told(self, tmp_path: Path) -> None:
        self.run(tmp_path, 1, "1" * 12)
        (miss,) = explain_cache(self.run(tmp_path, 2, "1" * 12))
        assert "the key is the same as that of f in run_001" in miss.reason

    def test_what_was_passed_by_is_told_with_torchs_reason(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        dump = self.run(tmp_path, 1, None, result="bypass", factors={"bypass_reason": "Unsupported pass"})
        assert main(["why", "cache", str(dump)]) == 1
        assert "torch passed its caches by: Unsupported pass" in capsys.readouterr().out

    def test_what_is_served_is_no_miss(self, tmp_path: Path) -> None:
        assert explain_cache(self.run(tmp_path, 1, "1" * 12, result="hit")) == []

    def test_another_wrapper_of_the_same_graph(self, tmp_path: Path) -> None:
        (miss,) = explain_cache(self.run(tmp_path, 1, "1" * 12, kind="aot_autograd", factors=None))
        assert "what AOTAutograd does around it is another" in miss.reason

    @given(lines=st.lists(st.text(max_size=60) | st.from_regex(r"\[\w+\] \w+(\[\w+\])?: .*", fullmatch=True)))
    def test_any_lines_are_read(self, lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
        root = tmp_path_factory.mktemp("lines")
        self.run(root, 1, "1" * 12)
        (miss,) = explain_cache(self.run(root, 2, "2" * 12, factors=lines))
        assert miss.key == "2" * 12
