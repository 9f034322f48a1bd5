"""The operators that come with Cutaway: importing this registers them.

    rms_norm                          x / rms(x) * weight
    fused_add_rms_norm                the same of x + x_residual, and the sum
    silu_and_mul, gelu_and_mul        act(left half) * right half
    rotary_embedding                  rotate query and key by their positions
    static_quant                      to fp8 or int8 by a given scale
    dynamic_per_token_quant           to fp8 or int8 by a scale for each token, and the scales
    rms_norm_static_quant             rms_norm, then static_quant
    rms_norm_dynamic_quant            rms_norm, then dynamic_per_token_quant
    fused_add_rms_norm_static_quant   fused_add_rms_norm, then static_quant
    fused_add_rms_norm_dynamic_quant  fused_add_rms_norm, then dynamic_per_token_quant

What an op means is its provider ``native``: plain torch, every rounding written out, and outputs that lie contiguous
whatever the strides of the inputs. The last four are bit for bit what the ops that they are made of give one after
the other, for a fusion puts one in the place of the other. Provider ``cpp`` is `cutaway.ops.kernels`.
"""

from __future__ import annotations

from cutaway.ops.library.activation import gelu_and_mul, silu_and_mul
from cutaway.ops.library.fused import (
    fused_add_rms_norm_dynamic_quant,
    fused_add_rms_norm_static_quant,
    rms_norm_dynamic_quant,
    rms_norm_static_quant,
)
from cutaway.ops.library.layernorm import fused_add_rms_norm, rms_norm
from cutaway.ops.library.quantization import dynamic_per_token_quant, static_quant
from cutaway.ops.library.rotary import rotary_embedding

__all__ = [
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
]
