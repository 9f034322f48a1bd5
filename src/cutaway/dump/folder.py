"""Reading files of a process folder without ever leaving it: a dump is untrusted input."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from cutaway.errors import DumpError


class ProcessFolder:
    """The folder of one process.

    Args:
        path: the folder; it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._real = path.resolve()

    def resolve(self, relative: str) -> Path:
        """The file that a manifest names.

        Raises:
            DumpError: the path is absolute, goes up, leads out through a symbolic link, or names no
                ordinary file.
        """
        parts = PurePosixPath(relative).parts
        if not parts or relative.startswith("/") or ".." in parts or "\0" in relative or "\\" in relative:
            raise DumpError(
                f"the dump names {relative!r}",
                "a file of a dump must lie inside it",
                "do not trust this dump",
            )
        path = self._real.joinpath(*parts)
        if not path.resolve().is_relative_to(self._real):
            raise DumpError(
                f"{relative!r} leads out of the dump",
                "there is a symbolic link on its way",
                "replace the link with a copy of what it names, or do not trust this dump",
            )
        if not path.exists():
            raise DumpError(f"{relative!r} is missing", "it was announced, so it was there once", _VERIFY)
        if not path.is_file():
            raise DumpError(f"{relative!r} is no ordinary file", "only those are read", "do not trust this dump")
        return path

    def read(self, relative: str) -> bytes:
        """The content of a file.

        Raises:
            DumpError: as `resolve`, or the file cannot be read.
        """
        path = self.resolve(relative)
        try:
            return path.read_bytes()
        except OSError as error:
            raise DumpError(f"{relative!r} cannot be read", error.strerror or str(error), _VERIFY) from error

    def read_from(self, relative: str, start: int) -> bytes:
        """What a file holds from a byte on.

        Raises:
            DumpError: as `read`, or the file is shorter than that.
        """
        path = self.resolve(relative)
        try:
            with path.open("rb") as file:
                if file.seek(0, 2) < start:
                    raise DumpError(f"{relative!r} is shorter than it was", "another recording took its place")
                file.seek(start)
                return file.read()
        except OSError as error:
            raise DumpError(f"{relative!r} cannot be read", error.strerror or str(error), _VERIFY) from error


_VERIFY = "run `cutaway verify` to see what else is wrong, or record again"
