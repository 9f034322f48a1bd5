"""An editor: of Inductor's output code, or of a graph's, it makes the first value that is returned zero.

VISUAL='python vllm_editor.py' cutaway edit DUMP PIECE
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

RETURN = re.compile(r"^( *)return \((\w+),", re.MULTILINE)


def main() -> None:
    for name in sys.argv[1:]:
        text = Path(name).read_text()
        edited, count = RETURN.subn(r"\1return (\2.zero_(),", text)
        if count != 1:
            raise SystemExit(f"{name} returns at {count} places")
        Path(name).write_text(edited)


if __name__ == "__main__":
    main()
