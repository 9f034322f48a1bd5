"""The server: who may ask, what is answered, and that what is new is told."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dump_maker import make_dump
from starlette.testclient import TestClient

from cutaway.errors import UsageError
from cutaway.web.answers import Answers
from cutaway.web.data import Library
from cutaway.web.guard import HEADERS
from cutaway.web.server import listen, make_app

TOKEN = "abc-123_x"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
DATA = "/api/run_002/rank_0_dp_0"


@pytest.fixture(name="page", scope="module")
def _page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    (folder / "page.js").write_text("0")
    (folder / "secret.txt").write_text("not to be served")
    return folder


@pytest.fixture(name="client", scope="module")
def _client(root: Path, page: Path) -> Iterator[TestClient]:
    with TestClient(make_app(Library(root), TOKEN, page), base_url="http://127.0.0.1:8000") as client:
        yield client


def problem(response: Any) -> str:
    found = response.json()
    assert set(found) == {"what", "why", "cure"}
    return found["what"]


class TestWhoMayAsk:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer abc"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": f"Bearer {TOKEN}é"},
            {"Cookie": f"token={TOKEN}"},
        ],
        ids=["none", "empty", "wrong", "basic", "longer", "cookie"],
    )
    @pytest.mark.parametrize("path", ["/api/index", f"{DATA}/overview", "/api/events", "/", "/nothing"])
    def test_without_the_token_nobody(self, client: TestClient, path: str, headers: dict[str, str]) -> None:
        response = client.get(path, headers={name: value.encode("utf-8") for name, value in headers.items()})
        assert response.status_code == 403
        said = response.text if path == "/" else problem(response)
        assert said.startswith("The token is missing or wrong")

    @pytest.mark.parametrize(
        "query", ["", "?token=", "?token=abc", "?" + "a=1&" * 100 + f"token={TOKEN}", "?token=%ff"]
    )
    def test_nor_with_another_in_the_address(self, client: TestClient, query: str) -> None:
        assert client.get(f"/{query}").status_code == 403

    def test_with_it_in_the_address_or_a_header(self, client: TestClient) -> None:
        assert client.get(f"/?token={TOKEN}").text == "<!doctype html><title>page</title>"
        assert client.get("/api/index", headers=KNOWN).json()["run"] == "run_002"
        assert client.get(f"/api/index?token={TOKEN}").json()["run"] == "run_002"

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1", "0.0.0.0"]
    )
    def test_a_name_that_is_not_of_this_machine_is_refused(self, client: TestClient, host: str) -> None:
        response = client.get("/api/index", headers=KNOWN | {"Host": host})
        assert (response.status_code, problem(response)) == (403, "this server answers to 127.0.0.1 and localhost only")

    @pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:9999", "LOCALHOST", "[::1]:1"])
    def test_a_forwarded_port_is_not(self, client: TestClient, host: str) -> None:
        assert client.get("/api/index", headers=KNOWN | {"Host": host}).status_code == 200

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8000", "http://127.0.0.1:9"])
    def test_another_origin_is_refused(self, client: TestClient, origin: str) -> None:
        response = client.get("/api/index", headers=KNOWN | {"Origin": origin})
        assert (response.status_code, problem(response)) == (403, "this server answers its own page only")

    def test_its_own_is_not(self, client: TestClient) -> None:
        assert client.get("/api/index", headers=KNOWN | {"Origin": "http://127.0.0.1:8000"}).status_code == 200

    def test_what_another_site_embeds_is_refused(self, client: TestClient) -> None:
        cross = {"Sec-Fetch-Site": "cross-site"}
        assert client.get("/page.js", headers=cross).status_code == 403
        assert client.get(f"/?token={TOKEN}", headers=cross).status_code == 200  # a link that somebody was sent

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
    def test_nothing_can_be_changed(self, client: TestClient, method: str) -> None:
        assert client.request(method, "/api/index", headers=KNOWN).status_code == 405

    @pytest.mark.parametrize("path", [f"/?token={TOKEN}", "/", "/page.js", "/api/index", "/nothing"])
    def test_headers_of_safety_are_on_every_answer(self, client: TestClient, path: str) -> None:
        response = client.get(path)
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


class TestAnswers:
    @pytest.mark.parametrize(
        "path",
        [
            "/secret.txt",
            "/../secret.txt",
            "/page.js/../secret.txt",
            "/%2e%2e/secret.txt",
            f"{DATA}/text/raw/../../../README.md",
            f"{DATA}/text/raw/%2e%2e%2f%2e%2e%2fREADME.md",
            f"{DATA}/text/code//etc/passwd",
            "/api/run_002/../../etc/passwd",
            "/api/run_002/rank_0_dp_0%00/overview",
        ],
    )
    def test_no_file_but_the_pages_own_and_what_the_dump_names(self, client: TestClient, path: str) -> None:
        response = client.get(path, headers=KNOWN)
        assert response.status_code == 404
        assert problem(response)

    def test_the_page_says_how_to_build_it(self, root: Path, tmp_path: Path) -> None:
        with TestClient(make_app(Library(root), TOKEN, tmp_path), base_url="http://localhost") as client:
            response = client.get(f"/?token={TOKEN}")
            assert (response.status_code, "make page" in response.text) == (503, True)
            assert client.get("/page.js").status_code == 404
            assert client.get("/api/index", headers=KNOWN).status_code == 200

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("steps/nothing", 404),
            ("graph/nothing", 404),
            ("text/cooked/captured", 400),
            ("diff/backbone/captured", 400),
            ("nothing", 404),
            ("x" * 5000, 404),
        ],
        ids=["compilation", "graph", "kind", "first", "resource", "long"],
    )
    def test_a_problem_has_a_status_and_sentences(self, client: TestClient, path: str, status: int) -> None:
        response = client.get(f"{DATA}/{path}", headers=KNOWN)
        assert response.status_code == status
        assert len(problem(response)) < 400

    def test_what_is_missing_from_the_dump_is_named(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump")
        for path in (root / "run_001" / "rank_0_dp_0" / "nodes").iterdir():
            path.write_text("{")
        with TestClient(make_app(Library(root), TOKEN), base_url="http://localhost") as client:
            response = client.get("/api/run_001/rank_0_dp_0/layers/backbone/captured", headers=KNOWN)
            assert (response.status_code, "is no node table" in problem(response)) == (422, True)
            assert client.get("/api/run_001/rank_0_dp_0/overview", headers=KNOWN).status_code == 200

    def test_a_tag_saves_the_second_transfer(self, client: TestClient) -> None:
        first = client.get(f"{DATA}/overview", headers=KNOWN)
        again = client.get(f"{DATA}/overview", headers=KNOWN | {"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get(f"{DATA}/overview", headers=KNOWN | {"If-None-Match": '"x"'}).status_code == 200

    def test_it_is_compressed_for_who_can_read_that(self, client: TestClient) -> None:
        plain = client.get(f"{DATA}/steps/backbone", headers=KNOWN | {"Accept-Encoding": "identity"})
        packed = client.get(f"{DATA}/steps/backbone", headers=KNOWN | {"Accept-Encoding": "gzip"})
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert int(packed.headers["Content-Length"]) < len(plain.content) / 3
        assert packed.json() == plain.json()

    def test_selectors_come_percent_encoded(self, client: TestClient) -> None:
        path = "/".join(("text", "code", "backbone", "piece_02", "range_8_8", "kernels", "cpp%5Ffused_norm%5f0"))
        assert client.get(f"{DATA}/{path}", headers=KNOWN).json()["language"] == "cpp"

    def test_no_more_is_kept_than_allowed(self, root: Path) -> None:
        answers = Answers(Library(root), kept=60_000)
        paths = list(Library(root).paths("run_001", "rank_0_dp_0"))
        first = {path: answers.get(path) for path in paths}
        assert all(answers.get(path).body == answer.body for path, answer in first.items())
        kept = [path for path in paths if answers.get(path) is answers.get(path)]
        assert 0 < len(kept) <= len(paths)

    def test_what_is_asked_for_first_is_ready(self, root: Path, tmp_path: Path) -> None:
        first = Answers(Library(root)).first()
        assert first[:2] == ["run_002/rank_0_dp_0/overview", "run_002/rank_0_dp_0/steps/backbone"]
        assert all(Answers(Library(root)).get(path).status == 200 for path in first)
        broken = make_dump(tmp_path / "dump")
        library = Library(broken)
        (broken / "run_001" / "rank_0_dp_0" / "manifest.jsonl").write_text("{}\n{}\n")
        assert Answers(library).first() == []

    def test_a_bug_of_ours_is_told_and_survived(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        library = Library(root)
        monkeypatch.setattr(library, "get", lambda *_, **__: 1 // 0)
        answer = Answers(library).get("index")
        assert (answer.status, json.loads(answer.body)["why"]) == (500, "this is a bug in Cutaway")
        assert "ZeroDivisionError" in capsys.readouterr().err


class TestListening:
    def test_on_this_machine_alone(self) -> None:
        with listen(0) as found:
            assert found.getsockname()[0] == "127.0.0.1"

    def test_a_port_that_is_taken(self) -> None:
        with listen(0) as found, pytest.raises(UsageError, match="cannot listen on port"):
            listen(found.getsockname()[1])

    def test_a_port_that_cannot_be(self) -> None:
        with pytest.raises(UsageError, match="cannot listen on port 70000"):
            listen(70000)


class Viewed:
    """`cutaway view` as a process of its own."""

    def __init__(self, root: Path, *options: str) -> None:
        command = [sys.executable, "-m", "cutaway.cli", "view", str(root), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline()

    def ask(self, path: str, token: str, port: int) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse()

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err


class TestView:
    def test_it_prints_where_it_is_and_ends_when_told_to(self, root: Path) -> None:
        viewed = Viewed(root, "--json")
        said = json.loads(viewed.first)
        assert said == {
            **said,
            "url": f"http://127.0.0.1:{said['port']}/?token={said['token']}",
            "pid": viewed.process.pid,
        }
        response = viewed.ask(f"{DATA}/overview", said["token"], said["port"])
        assert response.status == 200
        assert json.loads(response.read())["model"] == "Qwen3Model"
        assert viewed.ask(f"{DATA}/overview", "x", said["port"]).status == 403
        assert viewed.stop() == (0, "")

    def test_it_says_how_to_forward_the_port(self, root: Path) -> None:
        viewed = Viewed(root)
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=(\S{32})\n", viewed.first)
        assert match is not None
        assert viewed.process.stdout is not None
        rest = [viewed.process.stdout.readline() for _ in range(3)]
        assert rest[2].startswith(f"  ssh -N -L {match[1]}:127.0.0.1:{match[1]} ")
        assert viewed.ask(f"{DATA}/overview", match[2], int(match[1])).status == 200
        assert viewed.stop() == (0, "")

    def test_what_is_recorded_meanwhile_appears(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump")
        manifest = root / "run_001" / "rank_0_dp_0" / "manifest.jsonl"
        lines = manifest.read_text().splitlines(keepends=True)
        manifest.write_text("".join(lines[:3]))
        viewed = Viewed(root, "--json")
        said = json.loads(viewed.first)

        def stages() -> list[str]:
            answer = viewed.ask("/api/run_001/rank_0_dp_0/steps/backbone", said["token"], said["port"])
            return [step["name"] for step in json.loads(answer.read())["steps"]]

        assert stages() == ["captured"]
        events = viewed.ask("/api/events", said["token"], said["port"])
        assert events.headers["Content-Type"].startswith("text/event-stream")
        assert events.readline() == b"retry: 2000\n"
        with manifest.open("a") as file:
            file.write(lines[3] + lines[4][:40])
        assert self.next_change(events) == 1
        assert stages() == ["captured", "before_split"]
        with manifest.open("a") as file:
            file.write(lines[4][40:])
        assert self.next_change(events) == 2
        assert stages() == ["captured", "before_split", "piece"]
        make_dump(root / "more").joinpath("run_001").rename(root / "run_002")
        assert self.next_change(events) == 3
        index = json.loads(viewed.ask("/api/index", said["token"], said["port"]).read())
        assert [run["name"] for run in index["runs"]] == ["run_002", "run_001"]
        assert viewed.stop() == (0, "")

    @staticmethod
    def next_change(events: http.client.HTTPResponse) -> int:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            line = events.readline()
            if line.startswith(b"data: "):
                return json.loads(line.removeprefix(b"data: "))["version"]
        raise AssertionError("nothing was told")

    @pytest.mark.parametrize(("arguments", "said"), [(["nowhere"], "no dump at"), (["--port", "-1"], "cannot listen")])
    def test_bad_use(self, root: Path, arguments: list[str], said: str) -> None:
        given = arguments if arguments[0] == "nowhere" else [str(root), *arguments]
        command = [sys.executable, "-m", "cutaway.cli", "view", *given]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert said in ran.stderr


def test_what_is_compressed_is_the_same_each_time(root: Path) -> None:
    answer = Answers(Library(root)).get("run_001/rank_0_dp_0/steps/backbone")
    other = Answers(Library(root)).get("run_001/rank_0_dp_0/steps/backbone")
    assert answer.tag == other.tag
    assert answer.compressed == other.compressed
    assert answer.compressed is not None
    assert gzip.decompress(answer.compressed) == answer.body


def test_a_command_line_starts_without_the_server() -> None:
    server = {"uvicorn", "starlette", "watchfiles"}
    code = f"import sys, cutaway.cli as c; c.make_app(); assert not {server} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
