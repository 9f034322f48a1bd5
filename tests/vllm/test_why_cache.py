"""`cutaway why cache` on the real vLLM: five misses explained, and none where there is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from vllm_runs import Finished

from cutaway.cli import main
from cutaway.explain.cache import Miss, explain_cache
from cutaway.explain.cache.folders import NOTES, open_folder
from cutaway.explain.cache.inspect import check_vllm, entries_of_vllm
from cutaway.record.kept.notes import read_notes

PROGRAM = Path(__file__).with_name("vllm_keys.py")
_OURS = ("CUTAWAY", "VLLM_", "TORCH", "INDUCTOR_")


@pytest.fixture(scope="module", name="keys")
def _keys(tmp_path_factory: pytest.TempPathFactory, recorded: Finished) -> tuple[Path, dict[str, str]]:
    """A cache that vLLM has filled for several settings, and the key of each."""
    folder = tmp_path_factory.mktemp("keys")
    (notes,) = (read_notes(path) for path in recorded.cache.rglob(NOTES))
    assert notes is not None
    # What vLLM found out about the model's class, in a process that imports them all.
    shutil.copytree(recorded.cache / "modelinfos", folder / "cache" / "modelinfos")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    environment |= {
        "VLLM_CACHE_ROOT": str(folder / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "CUTAWAY_DEMO_PLATFORM": "1",
    }
    command = [sys.executable, str(PROGRAM), str(notes.facts["model"]), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder, json.loads((folder / "keys.json").read_text())


def miss_of(keys: tuple[Path, dict[str, str]], name: str) -> Miss:
    """The miss of a setting, the nearest entry being that of the first."""
    folder, known = keys
    (miss,) = (one for one in explain_cache(folder / "cache") if one.key == known[name])
    assert miss.nearest[0].key == known["first"]
    return miss


class TestFiveMisses:
    def test_of_a_flag(self, keys: tuple[Path, dict[str, str]]) -> None:
        assert miss_of(keys, "flag").words == ('option CompilationConfig.custom_ops: ["none"] → ["all"]',)

    def test_of_an_environment_variable(self, keys: tuple[Path, dict[str, str]]) -> None:
        assert miss_of(keys, "environment").words == ("env VLLM_USE_TRITON_AWQ: False → True",)

    def test_of_an_edited_model_file(self, keys: tuple[Path, dict[str, str]]) -> None:
        (words,) = miss_of(keys, "file").words
        assert words.startswith("qwen3.py line 214 changed: ")
        assert words.endswith("# edited")

    def test_of_a_folder_that_moved(self, keys: tuple[Path, dict[str, str]]) -> None:
        (words,) = miss_of(keys, "folder").words
        assert words.startswith("ModelConfig.model: the folder has moved: ")

    def test_of_another_option_of_torch(self, keys: tuple[Path, dict[str, str]]) -> None:
        (words,) = miss_of(keys, "torch option").words
        assert words == "torch option torch._inductor.config.shape_padding: its default → 'False'"

    def test_the_same_setting_makes_the_same_key(self, keys: tuple[Path, dict[str, str]]) -> None:
        folder, known = keys
        assert known["again"] == known["first"]
        assert len({one.key for one in explain_cache(folder / "cache")}) == 5
        assert list(check_vllm(open_folder(folder / "cache"))) == []


class TestADump:
    def test_of_a_cold_start_says_that_it_was_the_first(
        self, recorded: Finished, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["why", "cache", str(recorded.dump), "--cache", str(recorded.cache)]) == 1
        said = capsys.readouterr().out
        assert "backbone was not in vLLM's cache of whole models" in said
        assert "it was the first compile into it" in said

    def test_of_a_warm_start_has_no_miss(self, warm: Finished, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["why", "cache", str(warm.dump), "--cache", str(warm.cache)]) == 0
        assert "no miss" in capsys.readouterr().out

    def test_of_a_start_whose_artifact_was_taken_away_says_so(self, warm_pieces: Finished) -> None:
        (miss,) = explain_cache(warm_pieces.dump, warm_pieces.cache)
        assert miss.words == ()
        assert "the key is the same" in miss.reason

    def test_is_held_against_another_cache(self, recorded: Finished, layers_32: Finished, tmp_path: Path) -> None:
        """Two runs with caches of their own: what would have been another, had they shared one."""
        shutil.copytree(recorded.cache / "torch_compile_cache", tmp_path / "torch_compile_cache")
        for path in tmp_path.rglob("cache_key_factors.json"):
            os.utime(path, (1.0, 1.0))
        (miss,) = explain_cache(layers_32.dump, tmp_path)
        assert any("num_hidden_layers: 4 → 32" in words for words in miss.words)

    def test_names_no_secret(self, recorded: Finished) -> None:
        for path in recorded.cache.rglob(NOTES):
            assert b"secret123" not in json.dumps(vars(read_notes(path) or object())).encode()


def test_what_is_in_the_cache(recorded: Finished) -> None:
    found = entries_of_vllm(open_folder(recorded.cache))
    assert {one.kind for one in found} == {"graphs", "model"}
    assert all(one.bytes > 0 and one.recorded and one.ranks == ("rank_0_0",) for one in found)
    assert list(check_vllm(open_folder(recorded.cache))) == []
