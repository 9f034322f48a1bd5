"""One offline HTML file: the page with its data, to attach to a bug report.

    Library ──contents──► resources, what matters first ──redact──► ──pack──► chunks ──page──► report.html

The page inside is the one that `cutaway view` serves; it asks for the same resources by the same paths, and finds them
in itself (web/src/data/embedded.ts).
"""

from __future__ import annotations

from cutaway.web.report.make import Report, make_report
from cutaway.web.report.redact import Redactor

__all__ = ["Redactor", "Report", "make_report"]
