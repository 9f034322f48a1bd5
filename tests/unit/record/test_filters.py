"""Filters: which part of a compile is recorded."""

from __future__ import annotations

import pytest

from cutaway.errors import UsageError
from cutaway.record.filters import Filters
from cutaway.stages import STAGES


class TestAccept:
    def test_nothing_set_accepts_everything(self) -> None:
        assert all(Filters().accept(stage.name, "AnyPass", "piece_00") for stage in STAGES)
        assert Filters().accept_function(None, None)

    def test_stages_by_glob(self) -> None:
        filters = Filters.of(stages=["post_grad*", "captured"])
        accepted = {stage.name for stage in STAGES if filters.accept(stage.name, None, None)}
        assert accepted == {"captured", "post_grad", "post_grad_pass"}

    def test_one_glob_may_stand_alone(self) -> None:
        assert Filters.of(stages="captured") == Filters.of(stages=["captured"])

    def test_passes_leave_alone_what_is_no_pass(self) -> None:
        filters = Filters.of(passes="*Fusion*")
        assert filters.accept("custom_pass", "RMSNormFusionPass", None)
        assert not filters.accept("custom_pass", "NoOpEliminationPass", None)
        assert filters.accept("captured", None, None)

    def test_pieces_leave_alone_what_belongs_to_no_piece(self) -> None:
        filters = Filters.of(pieces=("piece_0[12]",))
        assert [filters.accept("piece", None, f"piece_0{n}") for n in range(3)] == [False, True, True]
        assert filters.accept("captured", None, None)

    def test_every_filter_that_is_set_must_accept(self) -> None:
        filters = Filters.of(stages="post_grad_pass", passes="remove_*")
        assert filters.accept("post_grad_pass", "remove_noop_ops", None)
        assert not filters.accept("joint_pass", "remove_noop_ops", None)
        assert not filters.accept("post_grad_pass", "stable_sort", None)

    def test_functions_by_either_name(self) -> None:
        filters = Filters.of(functions="Qwen3Model.*")
        assert filters.accept_function("backbone", "Qwen3Model.forward")
        assert filters.accept_function("Qwen3Model.forward.2", None)
        assert not filters.accept_function("backbone", "sample")
        assert not filters.accept_function(None)

    def test_globs_mind_the_case(self) -> None:
        assert not Filters.of(functions="net.*").accept_function("Net.forward")


class TestErrors:
    def test_an_unknown_stage_is_answered_with_all_stages(self) -> None:
        with pytest.raises(UsageError, match="no stage is called 'postgrad'") as caught:
            Filters.of(stages=["captured", "postgrad"])
        assert all(stage.name in str(caught.value) for stage in STAGES)

    def test_a_glob_that_no_stage_matches(self) -> None:
        with pytest.raises(UsageError, match="no stage is called 'lowering_"):
            Filters.of(stages="lowering_*")

    @pytest.mark.parametrize("text", ["post_grad", "stages=captured", "stage", "=x"])
    def test_a_word_that_is_not_understood(self, text: str) -> None:
        with pytest.raises(UsageError, match="CUTAWAY_ONLY does not understand") as caught:
            Filters.parse(f"function=f {text}")
        assert repr(text) in str(caught.value)
        assert "For example: CUTAWAY_ONLY=" in str(caught.value)

    def test_the_example_of_the_error_is_understood(self) -> None:
        with pytest.raises(UsageError) as caught:
            Filters.parse("?")
        assert Filters.parse(caught.value.cure.split("'")[1]).stages


class TestParse:
    def test_the_form_of_the_variable(self) -> None:
        text = "stage=post_grad*,custom_pass function=Qwen* piece=piece_0* pass=*Fusion*"
        assert Filters.parse(text) == Filters(("post_grad*", "custom_pass"), ("*Fusion*",), ("piece_0*",), ("Qwen*",))

    def test_a_key_twice_adds_up(self) -> None:
        assert Filters.parse("function=a function=b").functions == ("a", "b")

    def test_empty_is_everything(self) -> None:
        assert Filters.parse("  ") == Filters()
