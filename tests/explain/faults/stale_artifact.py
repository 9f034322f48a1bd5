"""The cache holds a wrong artifact under the right key: a run with GALLERY_FILL=1 compiled wrong code into it."""

from __future__ import annotations

import os

from _decoder import decoder, show
from wrong_lowering import plant

if __name__ == "__main__":
    if os.environ.get("GALLERY_FILL"):
        plant()
    show(decoder())
