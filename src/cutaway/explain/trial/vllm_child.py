"""In the child: serves a model with vLLM, offline, and writes down what it answers.

python -m cutaway.explain.trial.vllm_child FOLDER
"""

from __future__ import annotations

import math
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from cutaway.explain.trial.observation import Completion, Completions
from cutaway.explain.trial.vllm import ANSWER, REQUEST, Answer, Request

_TOP = 5
_LONGEST = 512


def main() -> None:
    """Do what the request in the folder asks. What vLLM raises ends the process: the log has it."""
    # One process, unless the user says otherwise: a crash is then seen where it happens.
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    folder = Path(sys.argv[1])
    request = msgspec.json.decode((folder / REQUEST).read_bytes(), type=Request)
    draft = folder / f"{ANSWER}.new"
    draft.write_bytes(msgspec.json.encode(_answer(request)))
    draft.rename(folder / ANSWER)
    sys.stdout.flush()
    getattr(os, "_exit")(0)  # noqa: B009  (what vLLM does at its end is of no interest, and may hang)


def _answer(request: Request) -> Answer:
    arguments = _engine_arguments(request.arguments)
    if isinstance(arguments, str):
        return Answer(unusable=arguments)
    vllm: Any = import_module("vllm")
    begun = time.perf_counter()
    llm = vllm.LLM.from_engine_args(arguments)
    start = time.perf_counter() - begun
    config = llm.llm_engine.model_config
    prompts = _prompts(request, config)
    sampling = vllm.SamplingParams(
        temperature=0, seed=0, max_tokens=request.max_tokens, logprobs=_TOP, ignore_eos=True, detokenize=False
    )
    found: list[Completion] = []
    took = 0.0
    for _ in range(request.rounds):
        since = time.perf_counter()
        if len(prompts) > 1:
            for name, prompt in prompts:
                found += _generate(llm, [(name, prompt)], sampling)
        found += _generate(llm, prompts, sampling)
        took = time.perf_counter() - since
    return Answer(Completions(found, str(config.dtype).removeprefix("torch.")), start, took)


def _engine_arguments(given: list[str]) -> Any:
    """vLLM's ``EngineArgs``, or why there are none."""
    arguments: Any = import_module("vllm.engine.arg_utils")
    parsing: Any = import_module("vllm.utils.argparse_utils")
    parser = arguments.EngineArgs.add_cli_args(parsing.FlexibleArgumentParser(exit_on_error=False))
    try:
        made = arguments.EngineArgs.from_cli_args(parser.parse_args(given))
        made.disable_log_stats = True
        made.create_model_config()
    except SystemExit:
        return "vLLM does not take these arguments; its words stand in the log"
    except Exception as error:  # noqa: BLE001  (pydantic's, huggingface's, argparse's: all say that it cannot start)
        return f"the model does not load: {type(error).__name__}: {_first_lines(str(error))}"
    return made


def _first_lines(text: str) -> str:
    return " ".join(line.strip() for line in text.strip().splitlines()[:3])[:300]


def _prompts(request: Request, config: Any) -> list[tuple[str, Any]]:
    """What is asked: name and prompt. Made ones are token ids, so that no tokenizer is needed."""
    if request.prompts:
        return [(text, text) for text in request.prompts]
    vocabulary = int(config.get_vocab_size())
    longest = max(1, min(_LONGEST, int(config.max_model_len) - request.max_tokens - 1))
    lengths = dict.fromkeys((min(3, longest), min(20, longest), longest))
    return [(f"{length} tokens", {"prompt_token_ids": _tokens(length, vocabulary)}) for length in lengths]


def _tokens(length: int, vocabulary: int) -> list[int]:
    """Any tokens, the same at each trial, and other ones for each length: no prefix is shared."""
    return [(7 + length + 31 * index * (length + 1)) % vocabulary for index in range(length)]


def _generate(llm: Any, prompts: list[tuple[str, Any]], sampling: Any) -> list[Completion]:
    outputs = llm.generate([prompt for _, prompt in prompts], sampling, use_tqdm=False)
    return [
        _completion(name, len(prompts), output.outputs[0]) for (name, _), output in zip(prompts, outputs, strict=True)
    ]


def _completion(name: str, batch: int, output: Any) -> Completion:
    tokens = [int(token) for token in output.token_ids]
    rows = output.logprobs or []
    chosen = [_number(row[token].logprob) for token, row in zip(tokens, rows, strict=False)]
    top = [{int(token): _number(one.logprob) for token, one in row.items()} for row in rows]
    return Completion(name, batch, tokens, chosen, top)


def _number(value: float) -> float | None:
    return float(value) if not math.isnan(value) else None


if __name__ == "__main__":
    main()
