"""Compiles a small decoder with our compiler, recorded: compile_decoder.py FOLDER writes FOLDER/dump."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "torch"))

import torch
from compiler.models import SPLITTING, decoder, tokens

import cutaway


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    config = {"splitting_ops": SPLITTING, "compile_ranges": [(1, 32)], "cache_dir": folder / "cache"}
    model = cutaway.compile(decoder(layers=2, hidden=16), config)
    with cutaway.record(folder / "dump"), torch.no_grad():
        model(tokens(16))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
