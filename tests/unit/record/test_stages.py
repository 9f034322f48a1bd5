"""The one list of stages: unique, explained, and used."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import cutaway
from cutaway.stages import STAGES, Stage, stage

RECORD = Path(cutaway.__file__).parent / "record"


def strings_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_names_and_titles_are_unique() -> None:
    assert len({stage.name for stage in STAGES}) == len(STAGES)
    assert len({stage.title for stage in STAGES}) == len(STAGES)


@pytest.mark.parametrize("one", STAGES, ids=lambda one: one.name)
class TestEach:
    def test_is_named_as_a_file_can_be(self, one: Stage) -> None:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", one.name)

    def test_is_explained_in_a_sentence(self, one: Stage) -> None:
        assert one.title
        assert one.title[0].islower() or one.title.startswith("AOTAutograd")
        assert one.sentence[0].isupper()
        assert one.sentence.endswith(".")
        assert 40 < len(one.sentence) < 260
        assert one.maker

    def test_is_found_by_its_name(self, one: Stage) -> None:
        assert stage(one.name) is one

    def test_is_recorded_by_somebody(self, one: Stage) -> None:
        assert any(one.name in strings_in(path) for path in [*RECORD.rglob("*.py"), *RECORD.parent.glob("vllm/*.py")])


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        stage("nowhere")
