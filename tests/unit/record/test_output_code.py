"""Kernels taken out of the Python that Inductor generated."""

from __future__ import annotations

import pytest

from cutaway.record.output_code import calls, digest, kernels, nodes_of

CPU = """
# AOT ID: ['0_inference']
from torch._inductor.async_compile import AsyncCompile
async_compile = AsyncCompile()

cpp_fused_add_0 = async_compile.cpp_pybinding(['const float*', 'float*'], r'''
#include <torch/csrc/inductor/cpp_prefix.h>
extern "C" void kernel() {}
''')

# Topologically Sorted Source Nodes: [x]
triton_poi_fused_0 = async_compile.triton('triton_poi_fused_0', '''
import triton
@triton.jit
def triton_poi_fused_0(in_ptr0): pass
''', device_str='cuda')

other = something_else.cpp_pybinding([], '''not a kernel''')
async_compile.wait(globals())
def call(args): return cpp_fused_add_0(*args)
"""


def test_each_with_its_suffix_and_its_own_text() -> None:
    found = kernels(CPU)
    assert list(found) == ["cpp_fused_add_0", "triton_poi_fused_0"]
    assert found["cpp_fused_add_0"] == (
        "cpp",
        '#include <torch/csrc/inductor/cpp_prefix.h>\nextern "C" void kernel() {}\n',
    )
    assert found["triton_poi_fused_0"] == (
        "py",
        "import triton\n@triton.jit\ndef triton_poi_fused_0(in_ptr0): pass\n",
    )


def test_a_language_nobody_knows() -> None:
    assert kernels("k = async_compile.halide(meta, '''body''')") == {"k": ("txt", "body\n")}


@pytest.mark.parametrize(
    "text", ["", "def (", "x = 1", "async_compile.wait(globals())", "a.b = async_compile.cpp('''x''')"]
)
def test_text_without_kernels(text: str) -> None:
    assert kernels(text) == {}


def test_nothing_is_executed() -> None:
    assert kernels("k = async_compile.cpp(open('/nowhere'), '''text''')\nraise SystemExit") == {"k": ("cpp", "text\n")}


def test_each_call_of_a_kernel_has_a_name() -> None:
    known = {"extern_kernels.mm": [["mm"], ["mm_1"], []], "cpp_fused_add_0": [["add", "mul"]]}
    assert calls(known) == {
        "extern_kernels.mm": ["mm"],
        "extern_kernels.mm#2": ["mm_1"],
        "extern_kernels.mm#3": [],
        "cpp_fused_add_0": ["add", "mul"],
    }
    assert calls({}) == {}


def test_the_nodes_of_all_calls_stand_once() -> None:
    assert nodes_of([["add", "mul"], ["mul", "sub"]]) == ["add", "mul", "sub"]
    assert nodes_of([]) == []


class TestDigest:
    def test_the_running_number_of_a_graph_does_not_count(self) -> None:
        assert digest(CPU) == digest(CPU.replace("0_inference", "7_inference"))

    def test_all_else_does(self) -> None:
        assert digest(CPU) != digest(CPU.replace("kernel()", "kernel2()"))

    def test_text_that_is_no_unicode(self) -> None:
        assert digest("\udcff") != digest("?")
