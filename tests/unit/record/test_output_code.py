"""Kernels taken out of the Python that Inductor generated."""

from __future__ import annotations

import pytest

from cutaway.record.output_code import calls, digest, kernels, nodes_of
from cutaway.torch_internals import KernelNodes

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


def computes(*nodes: str, doubtful: str = "", claimed: str = "") -> KernelNodes:
    return KernelNodes(list(nodes), frozenset(doubtful.split()), frozenset(claimed.split()))


def test_each_call_of_a_kernel_has_a_name() -> None:
    known = {
        "extern_kernels.mm": [computes("mm", claimed="mm"), computes("mm_1", claimed="mm_1"), computes()],
        "cpp_fused_add_0": [computes("add", "mul")],
    }
    assert calls(known) == {
        "extern_kernels.mm": ["mm"],
        "extern_kernels.mm#2": ["mm_1"],
        "extern_kernels.mm#3": [],
        "cpp_fused_add_0": ["add", "mul"],
    }
    assert calls({}) == {}


def test_what_a_library_computes_is_in_no_other_kernel() -> None:
    known = {
        "extern_kernels.mm": [computes("mm", claimed="mm")],
        "extern_kernels.convolution": [computes("convolution", claimed="convolution")],
        "cpp_fused_add_mm_0": [computes("add", "mm", doubtful="add mm")],
        "cpp_fused_convolution_1": [computes("convolution")],
        "cpp_fused_mm_2": [computes("mm", doubtful="mm")],
    }
    found = calls(known)
    assert found["cpp_fused_add_mm_0"] == ["add"]
    assert found["cpp_fused_convolution_1"] == ["convolution"]  # its bias
    assert found["cpp_fused_mm_2"] == ["mm"]  # better than nothing


def test_the_nodes_of_all_calls_stand_once() -> None:
    known = {"k": ["add", "mul"], "k#2": ["mul", "sub"], "k_1": ["exp"]}
    assert nodes_of("k", known) == ["add", "mul", "sub"]
    assert nodes_of("k_2", known) == []


class TestDigest:
    def test_the_running_number_of_a_graph_does_not_count(self) -> None:
        assert digest(CPU) == digest(CPU.replace("0_inference", "7_inference"))

    def test_all_else_does(self) -> None:
        assert digest(CPU) != digest(CPU.replace("kernel()", "kernel2()"))

    def test_text_that_is_no_unicode(self) -> None:
        assert digest("\udcff") != digest("?")
