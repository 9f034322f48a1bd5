"""Models of Hugging Face with random weights, whose attention is one custom op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

SPLITTING = ("toy::hf_attention",)
SIZES: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
}


@torch.library.custom_op("toy::hf_attention", mutates_args=())
def hf_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    """Causal attention: ``[1, heads, tokens, head_dim]``, to ``[1, tokens, heads, head_dim]``."""
    mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)
    return mixed.transpose(1, 2).contiguous()


@hf_attention.register_fake
def _(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.empty_like(q.transpose(1, 2).contiguous())


def _attention(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, scaling: float, **_: Any
) -> tuple[torch.Tensor, None]:
    return torch.ops.toy.hf_attention(query, key, value, scaling), None


AttentionInterface.register("toy", _attention)


def llama(layers: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, num_hidden_layers=layers, attn_implementation="toy")).eval()


def qwen3(layers: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(Qwen3Config(**SIZES, num_hidden_layers=layers, attn_implementation="toy")).eval()


def logits(model: Callable[..., Any], ids: torch.Tensor) -> torch.Tensor:
    """What a model says of these tokens, ``[tokens, vocabulary]``."""
    return model(input_ids=ids[None], use_cache=False).logits[0]
