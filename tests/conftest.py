"""Which tests begin first; and the conformance suites' numbers, at the end of every run that had any of them.

One line a suite: how many cases there are, how many are as the suite has them, and how many are otherwise for a reason,
which follows. Here and not beside the suites, because the process that prints is not the one that runs them.
"""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import settings

SUITES = {
    "tests/conformance/test_spf.py::test_case": "SPF, the RFC 7208 suite",
    "tests/conformance/test_dkim.py::test_today": "DKIM, the corpus by RFC 6376, 8301 and 8463",
    "tests/conformance/test_dkim.py::test_octets_are_those_that_were_signed": "DKIM, the corpus's octets as signed",
    "tests/conformance/test_arc.py::test_validation": "ARC, the RFC 8617 suite, validation",
    "tests/conformance/test_arc.py::test_sealing": "ARC, the RFC 8617 suite, sealing",
    "tests/conformance/test_dmarc.py::test_case": "DMARC, a table from RFC 9989",
    "tests/mime/test_material.py::test_leaves_lie_where_stalwart_has_them": "MIME, where stalwart has parts' octets",
    "tests/mime/test_material.py::test_leaves_hold_what_stalwart_has": "MIME, stalwart's types, names and contents",
    "tests/mime/test_material.py::test_parts_are_what_mime_tools_has": "MIME, the parts that mime-tools has",
    "tests/mime/test_material.py::test_types_are_those_of_the_standard_library": "MIME, the standard library's types",
}
# The property by which a test says why it expects something else than its suite.
DEPARTURE = "departure"


# A run tries the same examples again until a test changes, so that what passes here passes everywhere;
# ``--hypothesis-profile=search`` looks for others. A deadline would judge whoever else uses the machine.
settings.register_profile("search", deadline=None)
settings.register_profile("tidegate", deadline=None, derandomize=True)
settings.load_profile("tidegate")

# They wait on processes for minutes: none of them may be what one of two processes is left with at the end.
LONGEST_FIRST = ("tests/crash/", "tests/system/", "tests/house/", "tests/backup/", "tests/app/", "tests/antivirus/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {prefix: place for place, prefix in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: next((places[p] for p in LONGEST_FIRST if item.nodeid.startswith(p)), len(places)))


@dataclass
class _Counted:
    outcomes: Counter[str] = field(default_factory=Counter)
    departures: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        passed, departing = self.outcomes["passed"], self.departures.total()
        told = [f"{self.outcomes.total()} cases", f"{passed - departing} as the suite has it"]
        told += [f"{departing} otherwise, each for a reason"] if departing else []
        told += [f"{number} {outcome}" for outcome, number in self.outcomes.items() if outcome != "passed"]
        return ", ".join(told)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counted: dict[str, _Counted] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            title = SUITES.get(getattr(report, "nodeid", "").partition("[")[0])
            if title is None or (outcome == "passed" and report.when != "call"):
                continue
            suite = counted.setdefault(title, _Counted())
            suite.outcomes[outcome] += 1
            if outcome == "passed":
                suite.departures.update(reason for name, reason in report.user_properties if name == DEPARTURE)
    if counted:
        terminalreporter.section("conformance")
    for title in filter(counted.get, SUITES.values()):
        terminalreporter.write_line(f"{title}: {counted[title].line()}")
        for reason, number in counted[title].departures.most_common():
            terminalreporter.write_line(f"    {number} × {reason}")
