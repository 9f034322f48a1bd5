"""Keeps what was recorded of something that was compiled, beside the entry that a cache has made of it."""

from __future__ import annotations

from collections.abc import Callable

from cutaway.record.compilation import Compilation, Scope
from cutaway.record.filters import Filters
from cutaway.record.kept import file
from cutaway.record.kept.collect import artifact_rows, compilation_rows
from cutaway.record.kept.file import Kept, RefusedError
from cutaway.record.kept.place import Place
from cutaway.record.recorder import Recorder


def keep_compilation(recorder: Recorder, compilation: Compilation, place: Place) -> None:
    """Keep a compilation that is over."""
    if recorder.settings.filters == Filters():  # what is read back must be all that there was
        _keep(recorder, place, lambda: compilation_rows(recorder, compilation))


def keep_artifact(recorder: Recorder, compilation: Compilation, scope: Scope, place: Place) -> None:
    """Keep what led to the artifact of a scope."""
    if recorder.settings.filters == Filters():
        _keep(recorder, place, lambda: artifact_rows(recorder, compilation, scope))


def _keep(recorder: Recorder, place: Place, collect: Callable[[], Kept]) -> None:
    try:
        kept = collect()
        file.write(place.path, Kept({"entry": place.digest(), **kept.head}, kept.rows, kept.texts))
    except RefusedError as error:
        recorder.cache("recording", "bypass", place.name, {"reason": str(error)})
    except OSError as error:  # the cache's folder, or a dump that somebody has moved: the recording itself goes on
        recorder.cache("recording", "bypass", place.name, {"reason": f"it cannot be written ({error.strerror})"})
    else:
        recorder.cache("recording", "store", place.name)
