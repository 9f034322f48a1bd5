"""The configuration: frozen, every field says what it keys, and what is wrong is answered with the cure."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from cutaway.compiler.build.ranges import Range, make_ranges, range_of
from cutaway.compiler.config import CompilationConfig, CUDAGraphMode, DynamicShapes, Part
from cutaway.errors import ConfigError


def test_every_field_says_what_it_keys() -> None:
    said = {field.name: field.metadata.get("keys") for field in dataclasses.fields(CompilationConfig)}
    assert {name for name, keys in said.items() if keys not in ("piece", "model", "nothing")} == set()


def test_every_field_is_described() -> None:
    assert [
        f.name for f in dataclasses.fields(CompilationConfig) if f"{f.name}:" not in CompilationConfig.__doc__
    ] == []


def test_every_part_is_in_the_table_of_switches() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "compile.md").read_text()
    assert [part.value for part in Part if f"`{part.value}`" not in guide] == []
    assert [part.value for part in Part if part.value not in (Part.__doc__ or "")] == []


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CompilationConfig().max_batch = 1  # type: ignore[misc]


def test_names_stand_for_members() -> None:
    config = CompilationConfig(dynamic_shapes="unbacked", cudagraph_mode="PIECEWISE")  # type: ignore[arg-type]
    assert config.dynamic_shapes is DynamicShapes.UNBACKED
    assert config.cudagraph_mode is CUDAGraphMode.PIECEWISE


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"splitting_op": ()}, "no field 'splitting_op'. Did you mean splitting_ops?"),
        ({"off": ["spilt"]}, "no part 'spilt' to switch off. Did you mean split"),
        ({"cudagraph_mode": "PIECWISE"}, "Did you mean PIECEWISE or FULL_AND_PIECEWISE?"),
        ({"cache_format": "zip"}, "no cache format 'zip'. Choose binary or unpacked."),
    ],
)
def test_a_slip_of_the_pen_is_answered(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CompilationConfig(**fields)
    assert text in str(caught.value)


def test_parts_are_switched_off_by_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTAWAY_OFF", "inductor, pass:Fuse")
    config = CompilationConfig(off=[Part.SPLIT])  # type: ignore[arg-type]
    assert [part for part in Part if config.is_off(part)] == [Part.INDUCTOR, Part.SPLIT]
    assert "pass:Fuse" in config.off


def test_everything_off_is_no_compile_and_no_cuda_graphs() -> None:
    config = CompilationConfig(off=["everything"])  # type: ignore[arg-type]
    assert config.is_off(Part.COMPILE)
    assert config.is_off(Part.CUDA_GRAPHS)


@pytest.mark.parametrize(("value", "off"), [("1", True), ("0", False), ("", False)])
def test_the_cache_is_switched_off_by_its_own_variable(monkeypatch: pytest.MonkeyPatch, value: str, off: bool) -> None:
    monkeypatch.setenv("CUTAWAY_DISABLE_CACHE", value)
    assert CompilationConfig().is_off(Part.CACHE) is off


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUTAWAY_CACHE_ROOT", str(tmp_path))
    assert CompilationConfig().cache_dir == tmp_path


class TestRanges:
    def test_single_sizes_come_first(self) -> None:
        config = CompilationConfig(compile_ranges=[(17, 64), (1, 16)], compile_sizes=[8, 4, 8])  # type: ignore[arg-type]
        ranges = make_ranges(config)
        assert [str(span) for span in ranges] == ["4_4", "8_8", "1_16", "17_64"]
        assert [span.is_single_size for span in ranges] == [True, True, False, False]
        assert range_of(8, ranges) == Range(8, 8, is_single_size=True)
        assert range_of(9, ranges) == Range(1, 16)
        assert range_of(65, ranges) is None

    def test_without_any_there_is_one_up_to_the_largest_batch(self) -> None:
        assert make_ranges(CompilationConfig(max_batch=32)) == (Range(1, 32),)

    @pytest.mark.parametrize(
        ("fields", "text"),
        [
            ({"compile_ranges": [(1, 8), (8, 16)]}, "[1, 8] and [8, 16] overlap. Both hold 8. Begin the second at 9."),
            ({"compile_ranges": [(4, 2)]}, "[4, 2] is no compile range"),
            ({"compile_ranges": [(0, 2)]}, "[0, 2] is no compile range"),
            ({"compile_ranges": [(1, 8)], "compile_sizes": [9]}, "compile size 9 lies outside all compile ranges"),
        ],
    )
    def test_what_cannot_be_is_refused(self, fields: dict[str, Any], text: str) -> None:
        with pytest.raises(ConfigError) as caught:
            make_ranges(CompilationConfig(**fields))
        assert text in str(caught.value)
