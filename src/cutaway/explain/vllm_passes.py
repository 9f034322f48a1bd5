"""vLLM's own passes: what makes each of them, and what leaves it out. By vLLM 0.32's `PostGradPassManager`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class VllmPass:
    """What makes a pass.

    Attributes:
        flags: fields of `pass_config` that make it; one is enough, none is needed where there are none.
        devices: in words, those that it can be made on; empty for all.
        own_flag: its flag is there for what it does; false where it only prepares what other passes look for.
        backend: the model backend for which it is made, when it is only one.
    """

    flags: tuple[str, ...] = ()
    devices: str = ""
    own_flag: bool = True
    backend: str = ""

    @property
    def switch(self) -> str | None:
        """The flag that leaves it out; None when there is none of its own."""
        return self.flags[0] if self.own_flag and self.flags else None


_GPU, _CUDA_OR_ROCM, _AITER = "CUDA, ROCm or XPU", "CUDA or ROCm", "ROCm with AITER"
_NORMS = ("fuse_allreduce_rms", "fuse_norm_quant", "fuse_act_padding")
_ROPE = ("fuse_qk_norm_rope_kvcache", "fuse_rope_kvcache")

VLLM_PASSES: Mapping[str, VllmPass] = MappingProxyType(
    {
        "NoOpEliminationPass": VllmPass(("eliminate_noops",)),
        "AddRMSNormFusionPass": VllmPass(_NORMS, _GPU, own_flag=False, backend="Transformers"),
        "RMSNormReshapeFusionPass": VllmPass(_NORMS, _GPU, own_flag=False, backend="Transformers"),
        "AllReduceFusionPass": VllmPass(("fuse_allreduce_rms",), "CUDA"),
        "RMSNormQuantFusionPass": VllmPass(("fuse_norm_quant",), _GPU),
        "ActivationQuantFusionPass": VllmPass(("fuse_act_quant",), _GPU),
        "SplitCoalescingPass": VllmPass((*_ROPE, "enable_qk_norm_rope_fusion"), _GPU, own_flag=False),
        "ScatterSplitReplacementPass": VllmPass(_ROPE, _CUDA_OR_ROCM, own_flag=False),
        "QkNormRopeKvCacheFusionPass": VllmPass(("fuse_qk_norm_rope_kvcache",), _CUDA_OR_ROCM),
        "RopeKVCacheFusionPass": VllmPass(("fuse_rope_kvcache",), _CUDA_OR_ROCM),
        "MLARoPEKVCacheCatFusionPass": VllmPass(("fuse_rope_kvcache_cat_mla",), _CUDA_OR_ROCM),
        "AttnQuantFusionPass": VllmPass(("fuse_attn_quant",), _CUDA_OR_ROCM),
        "MLAAttnQuantFusionPass": VllmPass(("fuse_attn_quant",), _CUDA_OR_ROCM),
        "QKNormRoPEFusionPass": VllmPass(("enable_qk_norm_rope_fusion",), _GPU),
        "MLADualRMSNormFusionPass": VllmPass(("fuse_mla_dual_rms_norm",), _AITER),
        "RocmAiterAllReduceFusionPass": VllmPass(("fuse_allreduce_rms",), _AITER),
        "RocmAiterRMSNormQuantFusionPass": VllmPass(("fuse_norm_quant",), _AITER),
        "RocmAiterSiluMulFp8GroupQuantFusionPass": VllmPass(("fuse_act_quant",), _AITER),
        "RocmAiterTritonAddRMSNormPadFusionPass": VllmPass(("fuse_act_padding",), _AITER),
        "PostCleanupPass": VllmPass(),
        "VllmIRInplaceFunctionalizationPass": VllmPass(),
        "VllmIRLoweringPass": VllmPass(),
        "UnsafeCloneEliminationPass": VllmPass(),
        "FixFunctionalizationPass": VllmPass(),
    }
)
"""Name -> what makes it, in the order in which vLLM makes them."""
