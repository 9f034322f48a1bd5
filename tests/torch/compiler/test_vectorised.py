"""Code for vector units: what runs by default, and what the other tests leave out because each trial compile costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recordings import python

PROGRAM = """
import json, sys
import cutaway, torch
from compiler.models import SPLITTING, Decoder, Sizes

model = Decoder(Sizes(layers=2)).to(getattr(torch, sys.argv[2]))
batches = [torch.arange(tokens) * 7 % 128 for tokens in (16, 1, 33, 64)]
with torch.no_grad():
    wanted = [model(batch) for batch in batches]
    config = {"splitting_ops": SPLITTING, "max_batch": 64, "cache_dir": sys.argv[1], "progress": False}
    compiled = cutaway.compile(model, config, dynamic_arg_dims={"ids": 0})
    with cutaway.record(sys.argv[3]):
        found = [compiled(batch) for batch in batches]
errors = [(a.double() - b.double()).abs().max() / b.double().abs().max() for a, b in zip(found, wanted)]
print(json.dumps([float(error) for error in errors]))
"""


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-5), ("bfloat16", 0.03)])
def test_computes_what_the_model_does(tmp_path: Path, dtype: str, error: float) -> None:
    arguments = str(tmp_path / "cache"), dtype, str(tmp_path / "dump")
    run = python("-c", PROGRAM, *arguments, TORCHINDUCTOR_VEC_ISA_OK="1")  # what the processor says of itself is true
    assert max(json.loads(run.stdout.splitlines()[-1])) < error
    code = "".join(path.read_text() for path in (tmp_path / "dump").rglob("*output_code*"))
    assert "at::vec::" in code
