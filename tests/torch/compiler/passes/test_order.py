"""Where passes stand: the table, users' own beside a named one, and what is switched off."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import fx

from cutaway.compiler import after, before
from cutaway.compiler.config import CompilationConfig
from cutaway.compiler.passes.inductor_pass import InductorPass
from cutaway.compiler.passes.order import ROUNDS, arrange
from cutaway.errors import ConfigError

NAMES = [entry.name for entries in ROUNDS.values() for entry in entries]
ALWAYS = [entry.name for entries in ROUNDS.values() for entry in entries if entry.always]


class First(InductorPass):
    """Does nothing."""

    def __call__(self, graph: fx.Graph) -> None: ...


class Second(First):
    """Does nothing, either."""


def third(graph: fx.Graph) -> None:
    """A function."""


def order(**fields: Any) -> list[str]:
    """The names of all passes in the order in which they run."""
    return [one.name for passes in arrange(CompilationConfig(**fields)).values() for one in passes]


class TestTheTable:
    def test_each_pass_has_the_name_by_which_it_stands_there(self) -> None:
        made = [(entry.name, entry.make().name) for entries in ROUNDS.values() for entry in entries]
        assert made
        assert [pair for pair in made if pair[0] != pair[1]] == []
        assert order() == NAMES

    def test_each_pass_is_known_in_another_process(self) -> None:
        assert [entry.name for entries in ROUNDS.values() for entry in entries if entry.make().uuid() is None] == []

    def test_ops_are_made_functional_first_and_lowered_after_what_fuses_them(self) -> None:
        assert NAMES[0] == "inplace_functionalization"
        fusions = [name for name in NAMES if name.endswith("_fusion")]
        assert all(NAMES.index(name) < NAMES.index("ir_lowering") for name in fusions)
        assert NAMES.index("ir_lowering") < NAMES.index("clone_elimination")


class TestUsersPasses:
    def test_run_at_the_end_in_their_order(self) -> None:
        assert order(post_grad_passes=[First(), third, Second()]) == [*NAMES, "First", "third", "Second"]

    def test_or_beside_a_named_one(self) -> None:
        found = order(post_grad_passes=[before("ir_lowering", First()), after("ir_lowering", third), Second()])
        place = found.index("ir_lowering")
        assert found[place - 1 : place + 2] == ["First", "ir_lowering", "third"]
        assert found[-1] == "Second"

    def test_in_every_round(self) -> None:
        found = arrange(CompilationConfig(post_grad_passes=(before("inplace_functionalization", third),)))
        assert [one.name for one in found["pre_grad"]][:2] == ["third", "inplace_functionalization"]

    def test_several_after_one_run_in_their_order(self) -> None:
        given = [after("ir_lowering", First()), after("ir_lowering", Second()), after("ir_lowering", third)]
        found = order(post_grad_passes=given)
        place = found.index("ir_lowering")
        assert found[place : place + 4] == ["ir_lowering", "First", "Second", "third"]

    def test_beside_one_another_whatever_is_named_first(self) -> None:
        found = order(post_grad_passes=[before("First", third), after("third", Second()), First()])
        assert found[-3:] == ["third", "Second", "First"]

    def test_beside_one_that_is_switched_off(self) -> None:
        found = order(post_grad_passes=[before("clone_elimination", third)], off=["pass:clone_elimination"])
        assert found[found.index("third") - 1] == NAMES[NAMES.index("clone_elimination") - 1]
        assert "clone_elimination" not in found

    def test_run_as_themselves(self) -> None:
        """Not as the entry that places them: their ranges and their identity are their own."""
        one = First()
        found = arrange(CompilationConfig(post_grad_passes=(before("ir_lowering", one),)))
        assert any(there is one for there in found["post_grad"])

    @given(st.permutations([before("ir_lowering", First()), after("First", third), before("third", Second())]))
    def test_the_order_of_the_entries_does_not_matter_where_each_has_a_place(self, entries: list[Any]) -> None:
        found = order(post_grad_passes=entries)
        place = found.index("First")
        assert found[place : place + 4] == ["First", "Second", "third", "ir_lowering"]

    @pytest.mark.parametrize("place", [before, after])
    def test_a_pass_that_there_is_not(self, place: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            order(post_grad_passes=[place("ir_lowring", third)])
        assert f"the pass third is to run {place.__name__} 'ir_lowring'" in str(caught.value)
        assert "Did you mean ir_lowering" in str(caught.value)

    def test_passes_that_wait_for_each_other(self) -> None:
        with pytest.raises(ConfigError, match="third is to run before 'Second', which is no pass"):
            order(post_grad_passes=[before("Second", third), before("third", Second())])


class TestSwitches:
    @pytest.mark.parametrize("name", NAMES)
    def test_each_can_be_off(self, name: str) -> None:
        assert order(off=[f"pass:{name}"]) == [other for other in NAMES if other != name]

    def test_all_but_what_makes_ops_run(self) -> None:
        assert order(off=["passes"], post_grad_passes=[First(), before("ir_lowering", third)]) == ALWAYS
        assert ALWAYS == ["inplace_functionalization", "scaled_addition", "ir_lowering"]

    def test_and_these_by_their_names(self) -> None:
        assert order(off=["passes", *(f"pass:{name}" for name in ALWAYS)]) == []

    def test_a_name_that_there_is_not(self) -> None:
        with pytest.raises(ConfigError) as caught:
            order(off=["pass:clone_eliminaton"])
        assert "there is no pass 'clone_eliminaton' to switch off. Did you mean clone_elimination" in str(caught.value)

    def test_the_environment_is_for_all_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUTAWAY_OFF", "pass:Second, pass:ir_lowering")
        assert "ir_lowering" not in order()
        assert "Second" not in order(post_grad_passes=[Second()])
