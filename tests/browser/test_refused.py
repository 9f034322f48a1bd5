"""Who may not see a dump does not; the page is made of nothing from elsewhere."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from viewer import PAGE, VLLM, open_page

HOME = f"{VLLM}/rank_0_dp_0"


@pytest.fixture(name="elsewhere")
def _elsewhere() -> Iterator[str]:
    """Another site that the browser has open."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class _Empty(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Elsewhere</title>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's
        return


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%00", "?tok=en"])
def test_a_wrong_token_sees_nothing(browser: object, url: str, query: str) -> None:
    base = url.partition("?")[0]
    with open_page(browser, url) as viewer:
        viewer.expected.append("403")
        answer = viewer.page.goto(base + query)
        assert answer is not None
        assert answer.status == 403
        assert "token is missing or wrong" in viewer.page.inner_text("body")
        for path in ("api/index", f"api/{HOME}/overview", "api/events"):
            answer = viewer.page.goto(base + path + query)
            assert answer is not None
            assert answer.status == 403
            assert "run_00" not in viewer.page.content()


def test_another_site_cannot_read_it(browser: object, url: str, elsewhere: str) -> None:
    """Neither by asking, not even with the token, nor by embedding."""
    base, _, token = url.partition("?token=")
    with open_page(browser, elsewhere) as viewer:
        viewer.expected += ["CORS", "ERR_", "403", "frame", "Refused", "Framing"]
        viewer.page.goto(elsewhere)
        asked = viewer.page.evaluate(
            """async ([base, token]) => {
              const found = [];
              for (const path of [`api/index?token=${token}`, `?token=${token}`])
                for (const options of [{}, {headers: {Authorization: `Bearer ${token}`}}, {mode: 'no-cors'}])
                  found.push(await fetch(base + path, options).then((answer) => answer.text(), () => ''));
              return found;
            }""",
            [base, token],
        )
        assert asked == [""] * 6
        viewer.page.evaluate(
            """(url) => new Promise((done) => { const one = document.createElement('iframe');
              one.src = url; one.onload = one.onerror = done; document.body.append(one); })""",
            url,
        )
        inside = [frame for frame in viewer.page.frames if frame != viewer.page.main_frame]
        assert all("Cutaway" not in frame.content() for frame in inside)
        viewer.strange = [asked for asked in viewer.strange if not asked.startswith(base)]


@pytest.mark.parametrize(
    "path",
    [
        "..%2f..%2f..%2fetc%2fpasswd",
        f"{HOME}/text/raw/..%2f..%2f..%2f..%2fetc%2fpasswd",
        f"{HOME}/text/raw/%2fetc%2fpasswd",
        f"{HOME}/graph/..%2f..%2fcontext",
        "%2e%2e/%2e%2e/etc/passwd",
    ],
)
def test_a_path_outside_of_the_dump_is_refused(browser: object, url: str, path: str) -> None:
    base, _, token = url.partition("?")
    with open_page(browser, url) as viewer:
        viewer.expected += ["404", "400", "422", "403"]
        answer = viewer.page.goto(f"{base}api/{path}?{token}")
        assert answer is not None
        assert answer.status in (400, 404)
        assert "root:" not in viewer.page.content()


@pytest.mark.no_browser
def test_the_page_is_made_of_nothing_from_elsewhere() -> None:
    """What it is built of names no other host that anything would be loaded from."""
    index = (PAGE / "index.html").read_text()
    styles = (PAGE / "page.css").read_text()
    script = (PAGE / "page.js").read_text()
    assert re.findall(r"(?:src|href)=\"(?!\.?/|data:|#)[^\"]*", index) == []
    assert re.findall(r"url\(\s*[\"']?(?![\"']?(?:data:|#))[^)]*\)|@import[^;]*", styles) == []
    hosts = {urlsplit(found).hostname or "" for found in re.findall(r"(?:https?|wss?)://[^\s\"'`<>)\\]+", script)}
    assert hosts - NAMED == set()


NAMED = {"", "www.w3.org", "www.eclipse.org", "svelte.dev", "rolldown.rs"}
"""Names of XML and EMF types, and the addresses in messages of errors: nothing is asked there."""
