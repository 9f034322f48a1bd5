"""A start that was to be warm, and is not: the cache was filled with another option of Inductor."""

from __future__ import annotations

import os

from _decoder import decoder, show

if __name__ == "__main__":
    show(decoder(), {"inductor": {"epilogue_fusion": not os.environ.get("GALLERY_UNFUSED")}})
