// The kernels of torch.ops.cutaway_cpp for the CPU; the schemas are in schemas.py.
//
// Written against torch's stable ABI (torch/csrc/stable): C functions and headers that are small, so that this
// compiles in seconds, and what is compiled runs with later versions of torch, too.

#include "activation.h"
#include "layernorm.h"
#include "quantization.h"
#include "rotary.h"

STABLE_TORCH_LIBRARY_IMPL(cutaway_cpp, CPU, library) {
  library.impl("rms_norm", TORCH_BOX(&cutaway::rms_norm));
  library.impl("fused_add_rms_norm", TORCH_BOX(&cutaway::fused_add_rms_norm));
  library.impl("silu_and_mul", TORCH_BOX(&cutaway::silu_and_mul));
  library.impl("gelu_and_mul", TORCH_BOX(&cutaway::gelu_and_mul));
  library.impl("rotary_embedding", TORCH_BOX(&cutaway::rotary_embedding));
  library.impl("static_quant", TORCH_BOX(&cutaway::static_quant));
  library.impl("dynamic_per_token_quant", TORCH_BOX(&cutaway::dynamic_per_token_quant));
  library.impl("rms_norm_static_quant", TORCH_BOX(&cutaway::rms_norm_static_quant));
  library.impl("rms_norm_dynamic_quant", TORCH_BOX(&cutaway::rms_norm_dynamic_quant));
  library.impl("fused_add_rms_norm_static_quant", TORCH_BOX(&cutaway::fused_add_rms_norm_static_quant));
  library.impl("fused_add_rms_norm_dynamic_quant", TORCH_BOX(&cutaway::fused_add_rms_norm_dynamic_quant));
}
