"""What is refused, and what the refusal has to say."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from cutaway.errors import OpError


@contextmanager
def refused(*parts: str) -> Generator[None]:
    """What runs inside is refused with an OpError that has a reason and a cure, and says each of these."""
    with pytest.raises(OpError) as caught:
        yield
    text = str(caught.value)
    assert caught.value.what, text
    assert caught.value.cure, text
    for part in parts:
        assert part.lower() in text.lower(), f"{part!r} is not said: {text}"
