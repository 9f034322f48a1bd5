"""Run the real vLLM on a tiny model, on the CPU.

    CUTAWAY_DEMO_PLATFORM=1 python demo/generate.py --model qwen3 --layers 4

With `CUTAWAY_DEMO_PLATFORM=1` vLLM's compiler runs (mode VLLM_COMPILE); without it, vLLM's own CPU
platform turns that mode into DYNAMO_TRACE_ONCE. Weights, prompts and tokens are the same at every run.
"""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm import LLM, CompletionOutput

MODELS = Path(__file__).resolve().parent / "out" / "models"
MODES = ("VLLM_COMPILE", "DYNAMO_TRACE_ONCE", "STOCK_TORCH_COMPILE", "NONE")
PROMPTS = ("w5 w6 w7", "w100 w200 w300 w400 w500 w600", "w42")


def main() -> None:
    arguments = _arguments()
    _prepare_environment()
    from tiny_model import ARCHITECTURES, make_model  # noqa: PLC0415 - imports torch, which reads the environment

    if arguments.model in ARCHITECTURES:
        # The model's path is part of vLLM's cache key: a fixed place, or no start would ever be warm.
        place = MODELS / f"{arguments.model}-{arguments.layers}"
        model = make_model(place, arguments.model, arguments.layers)
    elif not (model := Path(arguments.model)).is_dir():
        raise SystemExit(f"no model folder {model}: name one, or {' or '.join(ARCHITECTURES)}")

    result = _generate(model, arguments)
    text = json.dumps(result, indent=1)
    if arguments.tokens_out:
        arguments.tokens_out.write_text(text + "\n")
    else:
        print(text)


def _prepare_environment() -> None:
    """Set what torch and vLLM read when they are imported."""
    # No look-ups at a model hub, no usage report.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # One thread, bound to no core: the same sums on every machine, any number of workers on one
    # memory node, and runs side by side that do not fight for a core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")


def _generate(model: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    import torch  # noqa: PLC0415 - as above
    import vllm  # noqa: PLC0415

    llm = vllm.LLM(
        model=str(model),
        dtype="float32",
        max_model_len=256,
        kv_cache_memory_bytes=1 << 28,
        tensor_parallel_size=arguments.tensor_parallel,
        seed=0,
        compilation_config=_compilation_config(arguments),
    )
    sampling = vllm.SamplingParams(
        temperature=0,
        seed=0,
        max_tokens=arguments.max_tokens,
        logprobs=0 if arguments.logprobs else None,  # 0: of the chosen token alone
        ignore_eos=True,
        detokenize=False,
    )
    outputs = llm.generate(list(PROMPTS), sampling, use_tqdm=False)
    result: dict[str, Any] = {
        "vllm": vllm.__version__,
        "torch": torch.__version__,
        "mode": llm.llm_engine.vllm_config.compilation_config.mode.name,
        "compilation_time": _compilation_time(llm),
        "tokens": {output.prompt: list(output.outputs[0].token_ids) for output in outputs},
    }
    if arguments.logprobs:
        result["logprobs"] = {output.prompt: _chosen_logprobs(output.outputs[0]) for output in outputs}
    return result


def _chosen_logprobs(completion: "CompletionOutput") -> list[float]:
    return [row[token].logprob for token, row in zip(completion.token_ids, completion.logprobs, strict=True)]


def _compilation_config(arguments: argparse.Namespace) -> dict[str, Any]:
    config: dict[str, Any] = {"mode": arguments.mode, "cudagraph_mode": "NONE"}
    if arguments.compile_sizes:
        config["compile_sizes"] = arguments.compile_sizes
    if arguments.ranges:
        config["compile_ranges_endpoints"] = arguments.ranges
    if arguments.debug_dump_path:
        config["debug_dump_path"] = str(arguments.debug_dump_path)
    return config


def _compilation_time(llm: "LLM") -> float | None:
    """Seconds that vLLM says it compiled; None when its engine runs in another process."""
    if os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING", "1") != "0":
        return None
    return llm.llm_engine.vllm_config.compilation_config.compilation_time


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the real vLLM on a tiny model, on the CPU.")
    parser.add_argument("--model", default="qwen3", help="qwen3, llama (made on the spot) or a model folder")
    parser.add_argument("--layers", type=int, default=4, help="decoder layers of a model made on the spot")
    parser.add_argument("--mode", choices=MODES, default="VLLM_COMPILE")
    parser.add_argument("--compile-sizes", type=_numbers, metavar="1,8", help="sizes to compile for alone")
    parser.add_argument("--ranges", type=_numbers, metavar="16,64", help="inner end points of the compile ranges")
    parser.add_argument("--tensor-parallel", type=int, default=1, metavar="N")
    parser.add_argument("--max-tokens", type=int, default=8, metavar="N", help="tokens a prompt")
    parser.add_argument(
        "--logprobs",
        action="store_true",
        help="also each token's exact log probability: two runs may choose the same tokens and differ in "
        "the last bit. vLLM compiles one more small function for it",
    )
    parser.add_argument("--tokens-out", type=Path, metavar="FILE", help="write the result as JSON here, not to stdout")
    parser.add_argument("--debug-dump-path", type=Path, metavar="FOLDER", help="CompilationConfig.debug_dump_path")
    return parser.parse_args()


if __name__ == "__main__":
    main()
