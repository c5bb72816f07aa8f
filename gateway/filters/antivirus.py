"""Is there a virus in the mail, and was everything in it looked at? See RFC 5321 §6.2.

The message as received and every part of it, decoded as any mail client would, go to clamd; archives are walked
beside. The options are those of a policy's ``[antivirus]`` table (contract.md §5), and ``mode``, ``on_error`` and
``too_large`` decide what ``infected``, ``temperror`` and ``too-large`` lead to; the reactions to the other results are
those of ``[filters.antivirus]``.

Only what a scanner called clean is ``clean``. With ``mode = "clean"`` the infected parts are cut out and the rest is
scanned again; where that cannot be done exactly, the mail stays ``infected``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gateway.antivirus.archive.report import ArchiveEntry
from gateway.antivirus.cleaning import Cleaned, NotCleanable, clean
from gateway.antivirus.desk import Antivirus
from gateway.antivirus.message import MessageScan, PartScan
from gateway.antivirus.notices import Circumstances, Language
from gateway.antivirus.result import Outcome
from gateway.config.units import Duration
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import TEMPERROR, Finding, Place
from gateway.smtp.replies import SCANNER_UNAVAILABLE, VIRUS_FOUND
from gateway.state.deferrals import Deferrals

# What is named of a mail with many of a kind; the journal is no inventory.
_NAMED = 5

_ACTIONS: Mapping[str, Action | None] = {
    "defer": Action.DEFER,
    "quarantine": Action.QUARANTINE,
    "tag": Action.TAG,
    "pass": None,
}
_INFECTED: Mapping[str, Action | None] = {
    "scan-only": None,
    "clean": Action.QUARANTINE,
    "reject": Action.REJECT,
}

# Risks that have words of their own here: programs in archives are sent among people who mean it.
_CALLED = {"executable": "archive-executable", "double-extension": "deceptive-name"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The keys of ``[antivirus]``; README.md says what each means."""

    mode: Literal["off", "scan-only", "clean", "reject"] = "clean"
    keep_original: bool = True
    on_error: Literal["defer", "quarantine", "tag", "pass"] = "defer"
    # Scanners are back in minutes; after two hours a person has to look, and the mail is safe where it is.
    defer_limit: Duration = 7200.0
    too_large: Literal["defer", "quarantine", "tag"] = "quarantine"
    language: Literal["en", "zh"] = "en"
    # Readable in a Subject header field without folding it.
    subject_tag: Annotated[str, Field(max_length=60)] = ""

    def __post_init__(self) -> None:
        if not self.subject_tag.isprintable():
            raise ValueError("subject_tag is printable")


class AntivirusFilter(Filter[Options]):
    """Asks the worker's scanners; silent where none is configured."""

    stage = Stage.DATA
    io = True
    Options: ClassVar[type] = Options
    results: ClassVar[Mapping[str, str]] = {
        "infected": "a virus was found, and `mode` does not remove it or it cannot be removed exactly",
        "cleaned": "a virus was found and its part cut out; the rest was scanned again",
        "overdue": "it could not be scanned for longer than `defer_limit`",
        "too-large": "larger than the scanner takes",
        "unscannable": "a limit was reached or something cannot be read to its end, ours or the scanner's",
        "encrypted": "an encrypted archive, document or message that no password of the mail's text opens",
        "macros": "a document with macros",
        "deceptive-name": "a name in an archive that hides what it is",
        "archive-executable": "a program in an archive",
        "shortcut": "in an archive: a link of the desktop, which runs what it names",
        "html-smuggling": "in an archive: a web page whose script makes a file on the reader's machine",
        "disk-image": "in an archive: a disk image: what is in it opens without a warning",
        "onenote": "in an archive: a OneNote section: files in it open by a click",
        "type-mismatch": "in an archive: the content is of another kind than the name or the declared type says",
        "script": "in an archive: a script of a Unix shell or interpreter",
        "html-script": "in an archive: a web page with a script",
        "mime-ambiguous": "mail clients take it differently; every reading was scanned",
        "clean": "everything was scanned and nothing found",
    }
    on: ClassVar[Mapping[str, float | Action]] = {
        "infected": Action.QUARANTINE,
        "overdue": Action.QUARANTINE,
        "too-large": Action.QUARANTINE,
        "unscannable": Action.QUARANTINE,
        "encrypted": Action.TAG,
        "macros": 2.0,
        "deceptive-name": 4.5,
        "archive-executable": 3.0,
        # The scores that ``attachments`` gives them.
        "shortcut": 6.0,
        "html-smuggling": 6.0,
        "disk-image": 4.0,
        "onenote": 4.0,
        "type-mismatch": 1.5,
        "script": 1.5,
        "html-script": 1.0,
        "mime-ambiguous": 0.5,
        TEMPERROR: Action.DEFER,
    }
    grounds: ClassVar[Mapping[str, Ground]] = {
        "infected": Ground.HARMFUL,
        "cleaned": Ground.HARMFUL,
        "deceptive-name": Ground.HARMFUL,
        "html-smuggling": Ground.HARMFUL,
    }
    reject = VIRUS_FOUND
    defer = SCANNER_UNAVAILABLE

    @property
    def is_idle(self) -> bool:
        """Whether scanning is switched off."""
        return self.options.mode == "off"

    @property
    def reactions(self) -> Mapping[str, float | Action | None]:
        """What ``[antivirus]`` says of the results that it is about."""
        options = self.options
        return {
            "infected": _INFECTED.get(options.mode),
            "cleaned": None,
            TEMPERROR: _ACTIONS[options.on_error],
            "too-large": _ACTIONS[options.too_large],
        }

    async def examine(self, tx: Transaction, ctx: Context) -> tuple[Finding, ...] | None:
        """Return what was found, the gravest first; ``clean`` when nothing was."""
        desk = ctx.service(Antivirus)
        if desk is None or not desk.is_configured:
            return None
        try:
            scan = await desk.scan(tx.trace_id, tx.content)
            first = await self._gravest(tx, ctx, desk, scan)
        except OSError as error:
            return (self.found(TEMPERROR, f"the content cannot be read: {error.strerror or error}"),)
        return (first, *(finding for finding in self._beside(scan) if finding.result != first.result))

    async def _gravest(self, tx: Transaction, ctx: Context, desk: Antivirus, scan: MessageScan) -> Finding:
        result = scan.result
        by = {"scanner": result.scanner or scan.whole.scanner, "version": result.version or scan.whole.version}
        if result.outcome is Outcome.CLEAN:
            return self.found("clean", **by)
        if result.outcome is Outcome.TEMPERROR:
            return self._unscanned(tx, ctx, scan)
        if result.outcome is not Outcome.INFECTED:
            return self.found(result.outcome.value, result.reason, name=result.name, **by)
        names = _names(part.leaf.part.filename or part.leaf.part.media_type for part in scan.infected)
        facts = {"name": result.name, "parts": names, **by}
        if self.options.mode != "clean":
            found = self.found("infected", f"infected: {result.name}", **facts)
        else:
            found = await self._cleaned(tx, ctx, desk, scan, facts)
        return found.about(tuple(map(_place, scan.infected))).superseding()

    def _unscanned(self, tx: Transaction, ctx: Context, scan: MessageScan) -> Finding:
        deferrals = ctx.service(Deferrals)
        if deferrals is not None and self.options.on_error == "defer":
            waited = deferrals.note(tx.content.sha256)
            if waited > self.options.defer_limit:
                return self.found("overdue", f"not scanned for {waited / 60:.0f} minutes: {scan.result.reason}")
        return self.found(TEMPERROR, f"not scanned: {scan.result.reason}", cause=scan.result.cause.value)

    async def _cleaned(
        self, tx: Transaction, ctx: Context, desk: Antivirus, scan: MessageScan, facts: dict[str, str]
    ) -> Finding:
        about = Circumstances(
            trace_id=tx.trace_id,
            at=ctx.clock.stamp().utc,
            contact=desk.contact,
            keeps_original=self.options.keep_original,
        )
        outcome = await clean(desk.messages, tx.content, scan, Language(self.options.language), about)
        name = scan.result.name
        match outcome:
            case NotCleanable():
                return self.found("infected", f"infected: {name}", **facts, not_cleaned=outcome.reason)
            case Cleaned():
                removed = self.found("cleaned", f"{name} removed", **facts, removed=_names(outcome.removed))
                return removed.editing(outcome.edits)

    def _beside(self, scan: MessageScan) -> Iterator[Finding]:
        """Yield what else there is to say; a mail with a virus has said enough."""
        if scan.result.outcome is Outcome.INFECTED:
            return
        for outcome in (Outcome.UNSCANNABLE, Outcome.ENCRYPTED, Outcome.MACROS):
            if part := next((p for p in scan.parts if p.result.outcome is outcome), None):
                yield self.found(outcome.value, part.result.reason, name=part.result.name)
        entries = [entry for part in scan.parts if part.archive for entry in part.archive.entries]
        yield from self._risks(scan, entries)
        if any(entry.macros for entry in entries):
            yield self.found("macros", "a document with macros in an archive")
        if scan.ambiguities:
            yield self.found("mime-ambiguous", f"read differently: {_names(scan.ambiguities)}")

    def _risks(self, scan: MessageScan, entries: Sequence[ArchiveEntry]) -> Iterator[Finding]:
        """Yield what ``attachments`` would say, had the files not been within an archive or a wrapping."""
        named: dict[str, list[str]] = {}
        for entry in entries:
            for risk in entry.risks:
                named.setdefault(_CALLED.get(risk, risk), []).append("/".join(entry.path))
        for part in scan.parts:
            for risk in part.risks:
                named.setdefault(_CALLED.get(risk, risk), []).append(part.leaf.part.filename)
        for result in self.results if named else ():
            if names := named.get(result):
                yield self.found(result, self.results[result], names=_names(names))


def _place(part: PartScan) -> Place:
    """Return where a part, or what had to be undone to find it, stands in the received octets."""
    start, end, _ = part.leaf.origin[0] if part.leaf.origin else part.leaf.place
    return start, end


def _names(names: "Iterator[str] | tuple[str, ...] | list[str]") -> str:
    several = list(dict.fromkeys(names))
    more = f" and {len(several) - _NAMED} more" if len(several) > _NAMED else ""
    return ", ".join(several[:_NAMED]) + more
