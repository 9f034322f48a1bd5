"""One offline file: all that was asked for is in it, as the server would give it, and nothing that was to be hidden."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dump_maker import make_dump
from hypothesis import given
from hypothesis import strategies as st
from report_reader import carried

from cutaway.dump import load
from cutaway.errors import SelectorError, UsageError
from cutaway.web.data import Library
from cutaway.web.report import Redactor, make_report
from cutaway.web.report.files import Files, own_files

START = "run_002/rank_0_dp_0"
PIECE = f"{START}/steps/backbone"


@pytest.fixture(name="page", scope="module")
def _page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of which only the size counts; the real one is opened in tests/browser."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.js").write_text("document.title = '</script>';" * 100)
    (folder / "page.css").write_text("p::after { content: '</style>' }")
    return folder


def as_json(found: Any) -> Any:
    return json.loads(msgspec.json.encode(found))


def without_report(index: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in index.items() if key not in ("report", "runs")}


def test_it_carries_what_the_server_gives(root: Path, page: Path) -> None:
    found = carried(make_report(root, page=page).html)
    library = Library(root)
    library.get(f"{START}/overview")
    assert without_report(found["index"]) == without_report(as_json(library.index()))
    assert [run["name"] for run in found["index"]["runs"]] == ["run_002"]
    for path, resource in found.items():
        if path != "index":
            assert resource == as_json(library.get(path)), path
    kinds = {path.split("/")[2] for path in found if path != "index"}
    assert kinds == {"overview", "steps", "graph", "snapshot", "layers", "text", "diff", "lineage", "search"}
    changed = [step for step in found[PIECE]["steps"] if step["kind"] == "snapshot" and step["changed"]]
    assert changed
    assert all(f"{START}/diff/{step['selector']}" in found for step in changed if step["before"])


def test_it_is_one_page_that_nothing_in_it_can_leave(root: Path, page: Path) -> None:
    html = make_report(root, page=page).html.decode()
    assert html.count("</style>") == 1
    assert html.count("<script") == html.count("</script>")
    assert "default-src 'none'" in html
    assert re.findall(r"(?:src|href)=[^ >]*", html) == ['href="data:,"']


def test_processes_that_differ_are_in_it_with_what_differs(tmp_path: Path, page: Path) -> None:
    root = make_dump(tmp_path / "dump", ranks=2)
    other = root / "run_001" / "rank_1_dp_0"
    rows = (other / "manifest.jsonl").read_text().splitlines()
    (other / "manifest.jsonl").write_text("\n".join(row for row in rows if "VllmIRLowering" not in row) + "\n")
    found = carried(make_report(root, page=page).html)
    compared = found["run_001/rank_0_dp_0/compare/run_001/rank_1_dp_0"]
    assert not compared["equal"]
    assert "run_001/rank_1_dp_0/overview" in found
    same = carried(make_report(make_dump(tmp_path / "same", ranks=2), page=page).html)
    assert not any("rank_1_dp_0" in path for path in same)


class TestOnly:
    def test_the_rest_is_left_out_everywhere(self, root: Path, page: Path) -> None:
        found = carried(make_report(root, only=["piece_02"], page=page).html)
        steps = [step["selector"] for step in found[PIECE]["steps"]]
        assert steps[0] == "backbone/captured"
        assert all("piece_02" in name for name in steps[1:])
        assert [piece["name"] for piece in found[f"{START}/overview"]["compilations"][0]["pieces"]] == ["piece_02"]
        named = {name for graph in found[f"{START}/search"]["graphs"] for name in graph["selectors"]}
        assert named == {step["selector"] for step in found[PIECE]["steps"] if step["kind"] == "snapshot"}
        assert found["index"]["report"]["only"] == ["piece_02"]

    def test_the_search_finds_what_it_found(self, root: Path, page: Path) -> None:
        def rows(table: dict[str, Any]) -> set[tuple[str, ...]]:
            columns, strings = table["columns"], [*table["strings"], ""]
            names = [name for name in columns if name not in ("graph", "node")]
            return {
                (table["graphs"][graph]["graph"], str(columns["node"][row]), *(strings[columns[n][row]] for n in names))
                for row, graph in enumerate(columns["graph"])
            }

        whole = carried(make_report(root, page=page).html)[f"{START}/search"]
        part = carried(make_report(root, only=["piece_02"], page=page).html)[f"{START}/search"]
        kept = {graph["graph"] for graph in part["graphs"]}
        assert rows(part) == {row for row in rows(whole) if row[0] in kept}
        assert len(part["strings"]) <= len(whole["strings"])

    def test_a_piece_that_was_compiled_with_another_brings_that_one(self, root: Path, page: Path) -> None:
        repeated = next(piece for piece in load(root)["backbone"].pieces if piece.same_as is not None)
        found = carried(make_report(root, only=[repeated.name], page=page).html)
        names = [step["selector"] for step in found[PIECE]["steps"]]
        assert f"backbone/{repeated.name}/piece" in names

    def test_what_names_nothing_is_refused(self, root: Path, page: Path) -> None:
        with pytest.raises(SelectorError, match="piece_77"):
            make_report(root, only=["piece_77"], page=page)


class TestSize:
    def test_what_matters_least_is_left_out_and_said(self, root: Path, page: Path) -> None:
        whole = make_report(root, page=page)
        smaller = make_report(root, max_bytes=len(whole.html) - 8000, page=page)
        assert len(smaller.html) <= len(whole.html) - 8000
        found = carried(smaller.html)
        assert smaller.left_out
        assert found["index"]["report"]["left_out"] == as_json(smaller.left_out)
        assert f"{START}/overview" in found

    @given(st.integers(10_000, 60_000))
    def test_it_is_never_larger_than_that(self, root: Path, page: Path, most: int) -> None:
        try:
            html = make_report(root, max_bytes=most, page=page).html
        except UsageError:
            html = b""  # not even the overview fits
        assert len(html) <= most

    def test_too_small_for_anything(self, root: Path, page: Path) -> None:
        with pytest.raises(UsageError, match="--max-size"):
            make_report(root, max_bytes=9000, page=page)

    def test_nothing_was_compiled(self, page: Path, tmp_path: Path) -> None:
        process = tmp_path / "run_001" / "rank_0_dp_0"
        process.mkdir(parents=True)
        (process / "manifest.jsonl").write_bytes(b"")
        with pytest.raises(UsageError, match="there is nothing to report"):
            make_report(tmp_path, page=page)

    def test_no_page_no_report(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="make page"):
            make_report(root, page=tmp_path)


def _secret(root: Path) -> Path:
    """A dump full of names."""
    for process in root.glob("run_*/rank_*"):
        for file in [*process.glob("nodes/*.json"), *process.rglob("*.py"), *process.rglob("*.txt")]:
            text = file.read_text()
            file.write_text(text.replace("/x/qwen3.py", "/home/ada/src/acme-gpt/models/acmegpt.py"))
        manifest = process / "manifest.jsonl"
        events = [json.loads(row) for row in manifest.read_text().splitlines()]
        for event in events:
            if event["event"] == "run":
                event["argv"] = ["serve.py", "--api-key", "hunter2"]
                event["context"] = "context.json"
            if event["event"] == "compilation":
                event |= {"model": "AcmeGptForCausalLM", "function": "AcmeGptModel.forward"}
                event["file"] = "/home/ada/zebra_src/zebra_kernels.py"
            if event["event"] == "metric":
                event["values"]["where"] = "/home/ada/cache/x.so"
                event["values"]["guards"] = ["zebra_src/zebra_kernels.py:6 in forward", "zebra_src.zebra_kernels.Gate"]
        manifest.write_text("".join(json.dumps(event) + "\n" for event in events))
        context = {
            "environment": {"USER": "ada", "HOSTNAME": "enigma-7"},
            "configuration": {"vllm": {"model_config": {"model": "acme/AcmeGPT-70B", "seed": 4711}}},
        }
        (process / "context.json").write_text(json.dumps(context))
    return root


SECRETS = ("acme", "ada/", "/home", "hunter2", "enigma", "4711", "serve.py", "Chinchilla", "zebra")


@pytest.fixture(name="secret", scope="module")
def _secret_dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _secret(make_dump(tmp_path_factory.mktemp("secret") / "dump"))


class TestRedaction:
    def test_no_name_is_left(self, secret: Path, page: Path) -> None:
        plain = json.dumps(carried(make_report(secret, page=page).html))
        assert sum(name in plain for name in SECRETS) >= 5  # so that the next lines can fail
        report = make_report(secret, redact=True, hide=["backbone"], page=page)
        text = json.dumps(carried(report.html)).lower()
        assert [name for name in SECRETS if name.lower() in text] == []
        assert "backbone" not in text
        assert not any(name in report.html.decode() for name in ("acme", "ada"))

    def test_its_text_is_what_it_carries(self, secret: Path, page: Path) -> None:
        report = make_report(secret, redact=True, page=page)
        rows = dict(line.split("\t", 1) for line in report.plain().splitlines())
        assert {path: json.loads(text) for path, text in rows.items()} == carried(report.html)

    def test_the_page_still_finds_everything(self, secret: Path, page: Path) -> None:
        found = carried(make_report(secret, redact=True, hide=["backbone"], page=page).html)
        index = found["index"]
        start = f"{index['run']}/{index['process']}"
        assert index["report"]["redacted"]
        for compilation in found[f"{start}/overview"]["compilations"]:
            for step in found[f"{start}/steps/{compilation['name']}"]["steps"]:
                if step["kind"] == "snapshot":
                    graph = found[f"{start}/snapshot/{step['selector']}"]["graph"]
                    assert f"{start}/graph/{graph}" in found
                elif step["kind"] == "code":
                    assert f"{start}/text/code/{step['selector']}" in found

    def test_what_is_in_an_installed_package_keeps_its_place_there(self, secret: Path) -> None:
        redactor = Redactor([load(secret)])
        path = "/home/bob/.venv/lib/python3.11/site-packages/vllm/model_executor/layers/layernorm.py"
        assert redactor.text(f"{path}:88") == "vllm/model_executor/layers/layernorm.py:88"
        assert redactor.text("at /srv/models/private.py:3") == redactor.text("at /srv/models/private.py:3")
        assert re.fullmatch(r"at /hidden/path_\d+\.py:3", redactor.text("at /srv/models/private.py:3"))

    @pytest.mark.parametrize(
        ("text", "hidden"),
        [
            ("/srv/acme/zebra.py:7", "/hidden/path_1.py:7"),
            ("at acme/zebra.py:7 in forward", "at hidden/path_1.py:7 in forward"),  # as torch shortens it
            ("zebra.py:7", "path_1.py:7"),
            ("import acme.zebra", "import hidden.path_1"),
            ("acme.zebra.Gate", "hidden.path_1.Gate"),
            ("rms_zebra.py and zebras, other/zebra.py", "rms_zebra.py and zebras, other/zebra.py"),
        ],
    )
    def test_a_file_of_the_programs_own_is_hidden_however_it_is_shortened(self, text: str, hidden: str) -> None:
        files = Files(["/srv/acme/zebra.py"], lambda name: name)
        files.stand_in("/srv/acme/zebra.py")
        assert files.without(text) == hidden

    def test_the_files_are_those_of_its_graphs(self, secret: Path) -> None:
        own = own_files(load(secret))
        assert {"/home/ada/zebra_src/zebra_kernels.py", "/x/qwen2.py"} <= set(own)

    @pytest.mark.parametrize(
        "text", ["a / b / c", "f32[s72, 256] // 2", "backbone/piece_02/range_8_8/post_grad", "x/y"]
    )
    def test_what_is_no_path_stays(self, secret: Path, text: str) -> None:
        assert Redactor([load(secret)]).text(text) == text
