"""`cutaway why cache`: why a cache did not serve."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from cutaway.cli.options import AsJson, RankName, RunName
from cutaway.cli.output import FINDING, write_json, write_lines
from cutaway.cli.why_cache_text import cache_lines
from cutaway.explain.cache import Miss, explain_cache

Target = Annotated[
    str,
    typer.Argument(
        metavar="DUMP", help="The dump of a run, or a cache: vLLM's VLLM_CACHE_ROOT, or the cache folder of Cutaway."
    ),
]
CacheFolder = Annotated[
    str | None,
    typer.Option("--cache", metavar="FOLDER", help="The cache that the run asked. Default: where the run had it."),
]
ShowAll = Annotated[bool, typer.Option("--all", help="Every difference and every entry, not the nearest alone.")]


def cache(
    path: Target,
    folder: CacheFolder = None,
    run: RunName = None,
    rank: RankName = None,
    show_all: ShowAll = False,
    as_json: AsJson = False,
) -> int:
    """Why a cache did not serve: which factor of the key is another than in the entry that comes nearest.

    Of a dump: every model and piece that was looked for and not found. Of a cache's folder: every entry that was made
    although others were there. What was recorded with Cutaway is told in values and lines; of what was not, vLLM keeps
    the environment and three digests.

    Exits 1 when something missed.
    """
    found = explain_cache(path, folder, run, rank)
    if as_json:
        write_json({"misses": [_json(each) for each in found]})
    else:
        write_lines(cache_lines(found, show_all))
    return FINDING if found else 0


def _json(miss: Miss) -> dict[str, Any]:
    return {**asdict(miss), "words": list(miss.words)}
