"""Make a tiny model folder on the spot: config, tokenizer, and random weights from a fixed seed.

    python demo/tiny_model.py FOLDER [--architecture qwen3|llama] [--layers 4]

The weights are real ones (2 MB and 2.3 MB a layer), because vLLM's own dummy weights are so near to zero
that a Qwen3 and a Llama answer alike: whatever a compiler did to a layer, the tokens would not show it.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

VOCABULARY = 1024
UNKNOWN, END = "<unk>", "<eos>"
ARCHITECTURES: dict[str, tuple[type[PretrainedConfig], str]] = {
    "qwen3": (Qwen3Config, "Qwen3ForCausalLM"),
    "llama": (LlamaConfig, "LlamaForCausalLM"),
}


def make_model(folder: str | Path, architecture: str = "qwen3", layers: int = 4) -> Path:
    """Write a model folder that vLLM can serve.

    Args:
        folder: where to; left alone when there is a model in it already.
        architecture: "qwen3" or "llama".
        layers: how many decoder layers.

    Returns:
        The folder. It appears complete or not at all, so that two processes may make it at once.

    Raises:
        ValueError: an unknown architecture, or no layers.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}: choose one of {', '.join(ARCHITECTURES)}")
    if layers < 1:
        raise ValueError(f"a model needs at least one layer, not {layers}")

    folder = Path(folder)
    if (folder / "config.json").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(_config(architecture, layers)).save_pretrained(draft)
        _tokenizer().save_pretrained(draft)
        draft.chmod(0o755)
        _publish(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _config(architecture: str, layers: int) -> PretrainedConfig:
    config_class, model_class = ARCHITECTURES[architecture]
    return config_class(
        architectures=[model_class],
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=256,
        initializer_range=0.08,
        bos_token_id=None,
        eos_token_id=1,
        dtype="float32",
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    words = [UNKNOWN, END, *(f"w{number}" for number in range(2, VOCABULARY))]
    model = models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=UNKNOWN)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=UNKNOWN, eos_token=END)


def _publish(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        if not (folder / "config.json").exists():  # else another process was faster, with the same files
            raise


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a tiny model folder, weights included.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--architecture", choices=list(ARCHITECTURES), default="qwen3")
    parser.add_argument("--layers", type=int, default=4)
    arguments = parser.parse_args()
    print(make_model(arguments.folder, arguments.architecture, arguments.layers))


if __name__ == "__main__":
    main()
