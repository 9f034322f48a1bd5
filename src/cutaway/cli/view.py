"""`cutaway view`: the web page, live while the compile goes on."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import webbrowser
from contextlib import suppress
from typing import Annotated

import typer

from cutaway.cli.options import Against, DumpPath, RankName, RunName
from cutaway.web.data import Library

Port = Annotated[
    int,
    typer.Option("--port", metavar="N", show_default=False, help="Where to listen. Default: any port that is free."),
]
Open = Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one line of JSON (url, port, token, pid) in place of sentences.")
]


def view(
    path: DumpPath,
    port: Port = 0,
    open_page: Open = False,
    run: RunName = None,
    rank: RankName = None,
    against: Against = None,
    as_json: AsJson = False,
) -> int:
    """Look at a dump in the browser.

    Serves the page and its data on 127.0.0.1, to whoever has the token in the printed address, until it is
    interrupted. While the recorded process still compiles, what is new appears by itself.
    """
    library = Library(path, run, rank, against=against)
    # `cutaway --help` and every other command need no server: it would double what they take to start.
    from cutaway.web.server import listen, make_app, serve  # noqa: PLC0415

    listening = listen(port)
    token = secrets.token_urlsafe(24)
    number: int = listening.getsockname()[1]
    url = f"http://127.0.0.1:{number}/?token={token}"
    said = {"url": url, "port": number, "token": token, "pid": os.getpid()}
    with suppress(KeyboardInterrupt):  # that is how it ends
        sys.stdout.write(json.dumps(said) + "\n" if as_json else _words(url, number))
        sys.stdout.flush()
        if open_page:
            webbrowser.open(url)
        serve(make_app(library, token), listening)
    return 0


def _words(url: str, port: int) -> str:
    return f"""\
{url}

On another machine, forward the port first, then open the same address there:
  ssh -N -L {port}:127.0.0.1:{port} {socket.gethostname()}

Ctrl-C ends it.
"""
