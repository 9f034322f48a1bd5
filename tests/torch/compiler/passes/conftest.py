"""Asserts in what the tests of passes share say what they compared."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("compiler.passes.rewriting")
