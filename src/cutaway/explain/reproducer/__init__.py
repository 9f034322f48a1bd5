"""One Python file that shows a fault: the smallest graph found, its inputs, and nothing of the model.

Request ──► child: program ──► shrink ──► write ──► reproducer.py (and .pt) ──► run: exit code 1
"""

from __future__ import annotations

from cutaway.explain.reproducer.job import GeneratedCode, Made, Passed, Request
from cutaway.explain.reproducer.make import checked, make_reproducer, run_reproducer

__all__ = ["GeneratedCode", "Made", "Passed", "Request", "checked", "make_reproducer", "run_reproducer"]
