"""The server behind `cutaway view`: the page, its data, and word of what is new. It only reads.

GET /?token=…          the page
GET /page.js, .css     its program and its looks
GET /api/<path>        data: docs/web-data.md
GET /api/events        server-sent events: one whenever more of the dump was read
"""

from __future__ import annotations

import gc
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from types import FrameType
from typing import TypeVar

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from cutaway.errors import UsageError
from cutaway.web.answers import Answer, Answers
from cutaway.web.data import Library
from cutaway.web.guard import Guard, refused
from cutaway.web.watch import Listeners, changes, follow

PAGE = Path(__file__).parent / "page"
BEAT = 15.0
"""Seconds after which a listener is told that there is nothing new, so that no proxy takes it for dead."""
LISTENERS = 100
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
NOT_BUILT = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Cutaway</title>
<body style="font: 16px/1.5 system-ui; max-width: 40em; margin: 4em auto; padding: 0 1em">
<h1>The page is not built</h1>
<p>This is a checkout in which the page has not been built yet. Build it, then reload:</p>
<pre>make page</pre>
<p>Installing Cutaway builds it, too (<code>pip install .</code>). Its data are served here already, under
<code>/api/</code>; <code>cutaway ls</code> and <code>cutaway show</code> tell the same in a terminal.</p>
"""
T = TypeVar("T")


def make_app(library: Library, token: str, page: Path = PAGE) -> Starlette:
    """The application.

    Args:
        library: the dump.
        token: what whoever asks must know.
        page: where the built page lies.
    """
    served = _Served(library, page)
    routes = [
        Route("/", served.file("index.html")),
        Route("/page.js", served.file("page.js")),
        Route("/page.css", served.file("page.css")),
        Route("/api/events", served.events),
        Route("/api/{path:path}", served.data),
        Route("/{path:path}", served.nothing),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Guard, token=token)], lifespan=served.lifespan)
    app.state.listeners = served.listeners
    return app


class _Served:
    """What is answered."""

    def __init__(self, library: Library, page: Path) -> None:
        self._library = library
        self._page = page
        self._answers = Answers(library)
        self.listeners = Listeners()
        self._lock = Lock()

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        """While the server runs, the dump is watched; what takes long is made ready first."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._prepare)
            look = partial(self._alone, self._answers.read_on)
            for path in self._library.paths_watched:
                tasks.start_soon(follow, changes(path), look, self.listeners)
            yield
            self.listeners.end()
            tasks.cancel_scope.cancel()

    async def _prepare(self) -> None:
        """Make answers ready, one by one, so that whoever asks meanwhile waits for one at most."""
        for path in await self._in_thread(self._answers.first):
            await self._in_thread(partial(self._answers.get, path))

    def _alone(self, do: Callable[[], T]) -> T:
        """One at a time: what is known of a dump is shared."""
        with self._lock:
            return do()

    async def _in_thread(self, do: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(partial(self._alone, do))

    def file(self, name: str) -> Callable[[Request], Response]:
        """Answers with a file of the page."""

        def answer(_: Request) -> Response:
            headers = {"Cache-Control": "no-cache"}
            try:
                content = (self._page / name).read_bytes()
            except OSError:
                if name == "index.html":
                    return Response(NOT_BUILT, 503, media_type="text/html", headers=headers)
                return refused(404, f"{name} is not there", "the page has not been built", "run `make page`")
            return Response(content, media_type=TYPES[Path(name).suffix], headers=headers)

        return answer

    async def data(self, request: Request) -> Response:
        """Answers with data."""
        path: str = request.path_params["path"]
        answer = await self._in_thread(partial(self._answers.get, path))
        return await anyio.to_thread.run_sync(partial(_response, answer, request.headers))

    async def events(self, request: Request) -> Response:
        """Answers with an event whenever more of the dump was read, for as long as the other side listens."""
        if self.listeners.count >= LISTENERS:
            return refused(503, "too many pages listen", "", "close some")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._told(), media_type="text/event-stream", headers=headers)

    async def _told(self) -> AsyncIterator[str]:
        self.listeners.count += 1
        try:
            seen = self.listeners.version
            yield "retry: 2000\n\n: listening\n\n"
            while not self.listeners.ended:
                version = await self.listeners.wait(seen, BEAT)
                yield f'event: change\ndata: {{"version": {version}}}\n\n' if version != seen else ": nothing new\n\n"
                seen = version
        finally:
            self.listeners.count -= 1

    async def nothing(self, _: Request) -> Response:
        """There is nothing else."""
        return refused(404, "there is nothing here", "", "the page is at /, its data are at /api/")


def _response(answer: Answer, asked: Headers) -> Response:
    headers = {"Cache-Control": "private, no-cache", "ETag": answer.tag, "Vary": "Accept-Encoding"}
    if answer.status == 200 and answer.tag in asked.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = answer.body
    if answer.compressed is not None and "gzip" in asked.get("accept-encoding", ""):
        body = answer.compressed
        headers["Content-Encoding"] = "gzip"
    return Response(body, answer.status, media_type="application/json", headers=headers)


def listen(port: int) -> socket.socket:
    """A socket on this machine alone.

    Args:
        port: which; 0 for a free one.

    Raises:
        UsageError: the port is taken, or not allowed.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1", port))
        found.listen(128)
    except (OSError, OverflowError) as error:
        found.close()
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(
            f"cannot listen on port {port}", why, "give another one, or none for any that is free"
        ) from error
    return found


class _Server(uvicorn.Server):
    """Lets those who listen for events go when it is told to stop; it would wait for them."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.config.app.state.listeners.end()  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue]
        super().handle_exit(sig, frame)


def serve(app: Starlette, listening: socket.socket) -> None:
    """Answer requests until the process is told to stop.

    Args:
        app: from `make_app`.
        listening: from `listen`.

    Raises:
        KeyboardInterrupt: it was told so by Ctrl-C.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=1,
        limit_concurrency=500,
    )
    gc.enable()  # commands do without; a server runs long
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)  # a graph is many small objects without a cycle: half of the time was collecting
    try:
        _Server(config).run(sockets=[listening])
    finally:
        listening.close()
