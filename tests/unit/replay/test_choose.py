"""Which graph of a dump is meant, beside another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from dump_maker import make_process

from cutaway.dump import Dump, load
from cutaway.errors import SelectorError
from cutaway.replay.choose import seen_from


@pytest.fixture(name="dump", scope="module")
def _dump(tmp_path_factory: pytest.TempPathFactory) -> Dump:
    folder: Path = tmp_path_factory.mktemp("choose") / "process"
    make_process(folder)
    return load(folder)


@pytest.mark.parametrize(
    ("home", "wanted", "meant"),
    [
        ("backbone/piece_02/range_8_8/post_grad", "captured", "backbone/captured"),
        ("backbone.2/captured", "captured", "backbone.2/captured"),
        ("backbone/piece_02/range_8_8/post_grad", "before_post_grad", "backbone/piece_02/range_8_8/before_post_grad"),
        ("backbone/piece_02/range_8_8/post_grad", "piece", "backbone/piece_02/piece"),
        ("backbone/piece_02/range_8_8/post_grad", "piece_04/piece", "backbone/piece_04/piece"),
        ("backbone/piece_02/range_8_8/post_grad", "1_4096/post_grad", "1_4096/post_grad"),  # names nothing
        ("backbone/captured", "backbone.2/captured", "backbone.2/captured"),
        ("backbone.2/captured", "before_split", "before_split"),  # of another compilation: as without a home
    ],
)
def test_the_nearest_is_meant(dump: Dump, home: str, wanted: str, meant: str) -> None:
    assert seen_from(dump.snapshots[home], dump, wanted) == meant


def test_several_that_are_as_near_are_ambiguous(dump: Dump) -> None:
    with pytest.raises(SelectorError, match="ambiguous"):
        seen_from(dump.snapshots["backbone/captured"], dump, "post_grad")
