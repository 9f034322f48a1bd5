"""Every provider of every op of the library against its native body, over the op's table."""

from __future__ import annotations

import pytest
import torch

from cutaway.ops import check_op, kernels, registry

OPS = (
    "dynamic_per_token_quant",
    "fused_add_rms_norm",
    "fused_add_rms_norm_dynamic_quant",
    "fused_add_rms_norm_static_quant",
    "gelu_and_mul",
    "rms_norm",
    "rms_norm_dynamic_quant",
    "rms_norm_static_quant",
    "rotary_embedding",
    "silu_and_mul",
    "static_quant",
)
PROVIDERS = [(name, "native") for name in OPS] + [(name, "cpp") for name in OPS] + [("rms_norm", "torch")]
# What is only rounded, and not summed or put through a function, is the same to the last bit.
EXACT = ("dynamic_per_token_quant", "rotary_embedding", "static_quant")


@pytest.mark.parametrize(("name", "provider"), PROVIDERS)
def test_provider_agrees_with_native(name: str, provider: str) -> None:
    op = registry[name]
    if provider not in op.supported_providers():
        pytest.skip(f"{provider} is not supported here")
    rows = check_op(op, [provider])
    assert [row for row in rows if row.outcome == "failed"] == []
    taken = [row for row in rows if row.outcome != "refused"]
    assert len(taken) > len(rows) / 2, "most of the table is refused"
    if provider == "native" or name in EXACT:
        assert {row.outcome for row in taken} == {"equal"}


def test_each_op_has_a_second_provider() -> None:
    for name in OPS:
        assert next(iter(registry[name].impls)) == "native"
        assert "cpp" in registry[name].impls
        assert registry[name].impls["cpp"].supported == kernels.available()


@pytest.mark.parametrize("name", OPS)
def test_table_holds_what_goes_wrong_first(name: str) -> None:
    """No token, one token; each dtype; sizes that are no multiple of a vector; rows that do not lie side by side."""
    values = [dict(case.values) for case in registry[name].cases()]
    assert {0, 1} < {entry["num_tokens"] for entry in values}
    assert {entry["dtype"] for entry in values} == {torch.float32, torch.bfloat16, torch.float16}
    assert any(entry["hidden"] % 8 for entry in values)
    assert len({entry["layout"] for entry in values}) > 2


def test_providers_are_known_by_all_their_sources() -> None:
    for name in OPS:
        impl = registry[name].impls["cpp"]
        assert {source.suffix for source in impl.sources} == {".cpp", ".h", ".py"}
        assert impl.uuid() != registry[name].impls["native"].uuid()
