"""What a report carries."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any


def carried(html: bytes) -> dict[str, Any]:
    """Path -> resource: read from the file as a browser would."""
    text = html.decode()
    found = re.search(r'<script type="application/json" id="cutaway-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    directory = json.loads(found[1])
    assert directory["schema"] == 1
    chunks = [
        json.loads(gzip.decompress(base64.b64decode(each)))
        for each in re.findall(r'data-chunk="\d+">([^<]*)</script>', text)
    ]
    assert {path for chunk in chunks for path in chunk} == set(directory["paths"])
    return {path: chunks[number][path] for path, number in directory["paths"].items()}
