"""Who may ask: whoever has the token, from a page of this server, by a name of this machine.

Another site that the browser has open must not read a dump. It has no token; it cannot pass for this server by
pointing a name of its own at 127.0.0.1 (DNS rebinding), since only names of this machine are answered; and what it
embeds or frames is refused by headers.
"""

from __future__ import annotations

import hmac
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cutaway.web.answers import problem

HOSTS = frozenset(("127.0.0.1", "localhost", "::1"))
OPEN = frozenset(("/page.js", "/page.css"))
"""What holds nothing of a dump: the page's own program, for which a browser cannot send a token."""
# Styles may be inline: CodeMirror and Svelte set them so. They can load nothing from anywhere.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "worker-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), usb=()",
}


NO_TOKEN = "The token is missing or wrong"
WHY = "Whoever looks at a dump must know it"
CURE = "Open the address that `cutaway view` printed, with all that stands behind its `?`"


class Guard:
    """Refuses what may not be asked, and puts headers of safety on every answer.

    Args:
        app: what answers the rest.
        token: what whoever asks must know.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_safely)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host, origin, site = headers.get("host", ""), headers.get("origin"), headers.get("sec-fetch-site", "none")
        if _hostname(host) not in HOSTS:
            why = f"it was asked as {host[:200]!r}"
            return refused(403, "this server answers to 127.0.0.1 and localhost only", why)
        if origin is not None and origin != f"http://{host}":
            return refused(403, "this server answers its own page only", f"{origin[:200]!r} asked")
        if site not in ("none", "same-origin") and scope["path"] != "/":
            return refused(403, "this server answers its own page only", "a page of another site asked")
        if scope["method"] not in ("GET", "HEAD"):
            return refused(405, f"{scope['method'][:20]} is not answered", "a dump is only read", "use GET")
        if scope["path"] not in OPEN and not self._knows(scope, headers):
            if scope["path"] == "/":
                return PlainTextResponse(f"{NO_TOKEN}. {WHY}. {CURE}.\n", 403, headers={"Cache-Control": "no-store"})
            return refused(403, NO_TOKEN, WHY, CURE)
        return None

    def _knows(self, scope: Scope, headers: Headers) -> bool:
        """Whether the token came along: in a header, or (the first time) in the address."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            given = _asked_with(scope["query_string"])
        return hmac.compare_digest(given.strip().encode(), self._token)


def refused(status: int, what: str, why: str = "", cure: str = "") -> Response:
    """A refusal, in a sentence."""
    answer = problem(status, what, why, cure)
    return Response(answer.body, answer.status, media_type="application/json", headers={"Cache-Control": "no-store"})


def _asked_with(query: bytes) -> str:
    """The token in an address; empty when there is none."""
    try:
        return next(iter(parse_qs(query.decode("latin-1"), max_num_fields=50).get("token", ())), "")
    except ValueError:
        return ""


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
