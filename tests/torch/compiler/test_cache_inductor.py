"""The cache in front of the real Inductor."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from compiler.cache_tools import Piece, cached, files_of
from recordings import in_child

from cutaway.compiler.build.inductor import InductorCompiler
from cutaway.compiler.build.interface import Task


def task() -> Task:
    """``(x + 1) * 3``, the batch dynamic."""
    piece = Piece(batch=6)
    x = piece.x()
    return piece.task(piece.call(torch.mul, piece.call(torch.add, x, 1.0), 3.0))


def result(root: Path, form: str, read_only: bool = False) -> tuple[list[str], float]:
    """What happened, and the first number that the piece gives for ``x = 1``: 6."""
    one = cached(root, InductorCompiler(form), read_only=read_only, cache_format=form)
    # every test has a tag, which keys; these share what is made once
    with warnings.catch_warnings(), torch.compiler.config.patch(cache_key_tag="inductor"):
        warnings.simplefilter("ignore", RuntimeWarning)
        built = one.compile(task())[0]
    for batch in (5, 9):
        answer = built.runnable(batch, torch.ones(batch, 8))[0]
        assert answer.shape == (batch, 8)
    return one.kinds, answer[0, 0].item()


@pytest.fixture(scope="module", params=["binary", "unpacked"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A cache that holds the piece."""
    root = tmp_path_factory.mktemp("made")
    assert in_child(result, root, request.param) == (["miss", "store"], 6.0)
    return root, request.param


def test_an_artifact_is_loaded_by_another_process_also_from_elsewhere_and_read_only(
    made: tuple[Path, str], tmp_path: Path
) -> None:
    root, form = made
    before = files_of(root)
    assert in_child(result, root, form) == (["load"], 6.0)
    assert in_child(result, root, form, True) == (["load"], 6.0)
    assert {name: content for name, content in files_of(root).items() if name in before} == before
    moved = tmp_path / "moved"
    copy(before, moved)
    assert in_child(result, moved, form, True) == (["load"], 6.0)
    assert files_of(moved) == before


def copy(content: dict[str, bytes], root: Path) -> None:
    for name, part in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(part)


def test_an_artifact_that_is_damaged_is_made_anew(made: tuple[Path, str], tmp_path: Path) -> None:
    root, form = made
    whole = files_of(root)
    parts = [name for name in whole if "objects" in name or "aotautograd" in name or name.endswith(".py")]
    assert len(parts) >= 2
    for name in parts:
        place = tmp_path / Path(name).name
        copy(whole, place)
        (place / name).write_bytes(whole[name][: len(whole[name]) // 2])
        assert in_child(result, place, form) == (["refused", "miss", "store"], 6.0), name
        assert in_child(result, place, form) == (["load"], 6.0), name


@pytest.mark.parametrize("made", ["unpacked"], indirect=True)
def test_an_edit_of_the_generated_code_takes_effect_on_the_next_load_also_in_one_process(
    made: tuple[Path, str], tmp_path: Path
) -> None:
    root, form = made
    copy(files_of(root), tmp_path)
    path = next(path for path in (tmp_path / "v1/unpacked").rglob("*.py") if "def call" in path.read_text())
    text = path.read_text()
    last = next(line for line in text.splitlines() if line.strip().startswith("return (buf"))
    assert last.strip() == "return (buf0, )"

    def in_one_process() -> list[tuple[list[str], float]]:
        found = [result(tmp_path, form)]
        for factor in ("2", "5"):
            path.write_text(text.replace(last, last.replace("buf0", f"buf0 * {factor}")))
            found.append(result(tmp_path, form))
        path.write_text(text)
        return [*found, result(tmp_path, form)]

    assert in_child(in_one_process) == [(["load"], 6.0), (["load"], 12.0), (["load"], 30.0), (["load"], 6.0)]


def test_what_torch_makes_no_artifact_of_is_built_each_time_and_costs_no_warning(tmp_path: Path) -> None:
    one = cached(tmp_path, InductorCompiler())
    with warnings.catch_warnings(), torch._inductor.config.patch(fx_graph_cache=False):
        warnings.simplefilter("error", RuntimeWarning)
        built = one.compile(task())[0]
    assert built.runnable(5, torch.ones(5, 8))[0][0, 0].item() == 6.0
    assert one.kinds == ["miss", "built"]
    assert "torch made none" in one.events[-1].reason
    assert not list(tmp_path.rglob("artifact.bin"))
