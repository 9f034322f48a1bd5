"""Resources packed into the page: chunks of JSON, compressed, as text that HTML can hold."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cutaway.errors import UsageError

LEVEL = 9
"""Of gzip."""
# The program is inflated and run as a module: a tenth of the page would be the program otherwise.
BOOT = """\
(async () => {
  const text = document.getElementById("cutaway-program").textContent.trim();
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const program = new Blob([await new Response(stream).arrayBuffer()], { type: "text/javascript" });
  await import(URL.createObjectURL(program));
})().catch((error) => {
  document.getElementById("page").textContent = `This browser cannot open the report: ${error}`;
});
"""
HTML = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="cutaway">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<div id="page"></div>
<noscript>This report needs JavaScript. It loads nothing from anywhere.</noscript>
<script type="application/json" id="cutaway-data">{directory}</script>
{chunks}
<script type="text/plain" id="cutaway-program">{program}</script>
<script>{boot}</script>
</body>
</html>
"""


def compressed(value: bytes) -> str:
    """Bytes as gzip in base64."""
    return base64.b64encode(gzip.compress(value, LEVEL, mtime=0)).decode()


def chunk(resources: Mapping[str, object]) -> str:
    """Resources by path, as the page's `EmbeddedSource` reads them."""
    return compressed(msgspec.json.encode(resources))


def inflated(packed: str) -> list[tuple[str, str]]:
    """The resources of a chunk: path and JSON."""
    resources = msgspec.json.decode(gzip.decompress(base64.b64decode(packed)), type=dict[str, msgspec.Raw])
    return [(path, bytes(text).decode()) for path, text in resources.items()]


class Frame:
    """The page around the data.

    Args:
        folder: where the built page lies.

    Raises:
        UsageError: it has not been built.
    """

    def __init__(self, folder: Path) -> None:
        try:
            program, self._style = (folder / "page.js").read_bytes(), (folder / "page.css").read_text("utf-8")
        except OSError as error:
            raise UsageError(
                "there is no page to put the data into", "it has not been built in this checkout", "run `make page`"
            ) from error
        self._program = compressed(program)
        digest = base64.b64encode(hashlib.sha256(BOOT.encode()).digest()).decode()
        self._policy = (
            f"default-src 'none'; script-src 'sha256-{digest}' blob:; worker-src blob:; style-src 'unsafe-inline'; "
            "img-src data:; base-uri 'none'; form-action 'none'"
        )

    @property
    def bytes(self) -> int:
        """How large it is without any data."""
        return len(self.html("", {}, []).encode())

    def html(self, title: str, paths: Mapping[str, int], chunks: list[str]) -> str:
        """The whole file.

        Args:
            title: of the window.
            paths: path of a resource -> index of the chunk that has it.
            chunks: compressed.
        """
        directory = json.dumps({"schema": 1, "paths": paths}, separators=(",", ":"))
        return HTML.format(
            policy=self._policy,
            title=_escaped(title),
            style=self._style.replace("</", "<\\/"),
            directory=directory.replace("<", "\\u003c"),
            chunks="\n".join(
                f'<script type="text/plain" data-chunk="{number}">{text}</script>' for number, text in enumerate(chunks)
            ),
            program=self._program,
            boot=BOOT,
        )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
