"""`cutaway verify`: is a dump whole?"""

from __future__ import annotations

from collections.abc import Iterator

from cutaway.cli.options import AsJson, DumpPath, RankName, RunName
from cutaway.cli.output import FINDING, Styled, aligned, write_json, write_lines
from cutaway.dump.verify import Report
from cutaway.dump.verify import verify as check
from cutaway.record.layers.words import short_bytes


def verify(path: DumpPath, run: RunName = None, rank: RankName = None, as_json: AsJson = False) -> int:
    """Is the dump whole? Does every file match its fingerprint?

    Checks all runs and processes, or those that are named. Exit code 1 when something is wrong; a dump of
    a process that was killed is incomplete, which is not wrong.
    """
    reports = check(path, run, rank)
    if as_json:
        write_json({"ok": all(report.ok for report in reports), "processes": [_shape(each) for each in reports]})
    else:
        write_lines(line for report in reports for line in _lines(report))
    return 0 if all(report.ok for report in reports) else FINDING


def _shape(report: Report) -> dict[str, object]:
    return {
        "run": report.run,
        "process": report.process,
        "ok": report.ok,
        "complete": report.complete,
        "files": report.files,
        "bytes": report.bytes,
        "tables": report.tables,
        "findings": report.findings,
    }


def _lines(report: Report) -> Iterator[list[Styled]]:
    problems = sum(finding.level == "problem" for finding in report.findings)
    verdict = "whole" if report.ok else f"NOT WHOLE: {problems} problem{'' if problems == 1 else 's'}"
    end = "" if report.complete else ", incomplete (the process was killed, or still runs)"
    checked = f"{report.files} files, {short_bytes(report.bytes)}, {report.tables} graphs"
    style = "bold" if report.ok else "bold red"
    yield [(f"{report.run}/{report.process}: ", ""), (verdict, style), (f"{end}; checked {checked}", "")]
    rows = [[finding.level, finding.kind, finding.where, finding.message] for finding in report.findings]
    for row in aligned(rows, most=80):
        yield [("  " + "  ".join(row), "dim" if row[0].strip() == "note" else "red")]
