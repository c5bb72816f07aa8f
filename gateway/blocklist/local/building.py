"""One list brought from a source's octets to the file that is served, or the reason why not."""

import gc
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path

from gateway.blocklist.local.collected import Collected, Note
from gateway.blocklist.local.compiling import Origin, compile_list
from gateway.blocklist.local.declaration import ListDeclaration
from gateway.blocklist.local.editions import Addition, Edition, State
from gateway.blocklist.local.mapped import MappedList, TornListError
from gateway.blocklist.local.reading import MAX_OCTETS, Source, read_source
from gateway.storage import DurableFiles

# Beyond the factors of a list: a handful of entries more or less is a day's work, whatever the list's size.
SMALL_CHANGE = 50
_DIGEST_CHARACTERS = 16
# Writing an addition itself down takes four times as long.
_said = attrgetter(*(field.name for field in fields(Addition)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What became of a new edition: ``state`` applied, held or refused, with the reason."""

    state: State
    note: str = ""
    entries: int = 0
    added: int = 0
    removed: int = 0
    bad_lines: int = 0
    problems: tuple[str, ...] = ()


def digest_of(octets: bytes) -> str:
    """Return the name of a content: its SHA-256."""
    return hashlib.sha256(octets).hexdigest()


def additions_file(name: str, additions: Sequence[Addition]) -> str:
    """Return the name of the compiled file of what operators added to a list and took off it."""
    return _named(name, _digest_of_additions(additions))


def _named(name: str, digest: str) -> str:
    return f"{name}+{digest[:_DIGEST_CHARACTERS]}.list"


def _digest_of_additions(additions: Sequence[Addition]) -> str:
    said = repr([_said(each) for each in additions])
    return hashlib.sha256(said.encode("utf-8", "backslashreplace")).hexdigest()


class Builder:
    """Compiles into ``folder``; ``contents`` holds the octets of editions by list and digest. Blocks."""

    def __init__(self, folder: Path, files: DurableFiles) -> None:
        self._folder = folder
        self._files = files

    # Contents ---------------------------------------------------------------------------------------------------------

    def keep(self, name: str, octets: bytes) -> str:
        """Store the octets of an edition, durable on return; return their SHA-256."""
        digest = digest_of(octets)
        path = self._content(name, digest)
        if not path.exists():
            self._files.write(path, [octets])
        return digest

    def content(self, name: str, digest: str) -> bytes | None:
        """Return the octets of an edition, None when they are not kept any more, or not whole."""
        try:
            octets = self._content(name, digest).read_bytes()
        except OSError:
            return None
        return octets if digest_of(octets) == digest else None

    def forget(self, name: str, kept: Iterable[str]) -> None:
        """Remove the contents of a list that are not among ``kept``."""
        wanted = set(kept)
        folder = self._folder / "editions" / name
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def _content(self, name: str, digest: str) -> Path:
        return self._folder / "editions" / name / digest

    # Judging and compiling --------------------------------------------------------------------------------------------

    def judge(self, declaration: ListDeclaration, edition: Edition, served: Edition | None, now: float) -> Judged:
        """Read an edition, compare it with the one served, and compile it when nothing speaks against it."""
        with _uncollected():
            return self._judge(declaration, edition, served, now)

    def _judge(self, declaration: ListDeclaration, edition: Edition, served: Edition | None, now: float) -> Judged:
        collected = self._read(declaration, edition, now)
        if collected is None:
            return Judged(state=State.REFUSED, note="its content is not kept, or damaged")
        problems = tuple(map(str, collected.problems))
        found = {"entries": collected.count, "bad_lines": collected.bad_lines, "problems": problems}
        refusal = _refusal(declaration, collected)
        if refusal:
            return Judged(state=State.REFUSED, note=refusal, **found)  # type: ignore[arg-type]
        if not edition.accepted and (held := self._held(declaration, collected, served, now)):
            return Judged(state=State.HELD, note=held, **found)  # type: ignore[arg-type]
        added, removed = self._difference(declaration, collected, served, now)
        self._compile(collected, declaration, edition.sha256)
        return Judged(state=State.APPLIED, added=added, removed=removed, **found)  # type: ignore[arg-type]

    def _held(self, declaration: ListDeclaration, collected: Collected, served: Edition | None, now: float) -> str:
        if served is not None and (jumped := _jumped(declaration, served.entries, collected.count)):
            return jumped
        wide = collected.too_wide()
        if not wide:
            return ""
        before = self._read(declaration, served, now) if served is not None else None
        known = before.too_wide() if before is not None else {}
        new = next((entry for entry in wide if entry not in known), "")
        return f"{new} lists more addresses than an IPv4 /8 or an IPv6 /12 has" if new else ""

    def ready(self, declaration: ListDeclaration, edition: Edition, now: float) -> tuple[str, MappedList] | None:
        """Return the compiled file's name and the list, compiled anew when it is missing or torn; None: no content."""
        name = _compiled_name(declaration, edition.sha256)
        if (mapped := self._opened(name)) is not None:
            return name, mapped
        with _uncollected():
            collected = self._read(declaration, edition, now)
            if collected is None:
                return None
            self._compile(collected, declaration, edition.sha256)
        opened = self._opened(name)
        return (name, opened) if opened is not None else None

    def ready_additions(self, name: str, additions: list[Addition], now: float) -> tuple[str, int]:
        """Return the compiled file of what operators added and took off, and how many those are; "" for none."""
        if not additions:
            return "", 0
        digest = _digest_of_additions(additions)
        file = _named(name, digest)
        if self._opened(file) is None:
            collected = Collected(file=name, now=now)
            # The latest word about an entry holds.
            for each in reversed(additions):
                note = Note(each.reason, "", each.since, each.until, excluded=each.excluded)
                collected.add_text(each.number, each.entry, note)
            compile_list(collected, Origin(sha256=digest, recipe=""), self._folder / file, self._files)
        return file, len(additions)

    def sweep(self, kept: Iterable[str]) -> None:
        """Remove compiled files that nothing names; who has them mapped keeps them until he lets go."""
        wanted = set(kept)
        for path in self._folder.glob("*.list"):
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def _opened(self, name: str) -> MappedList | None:
        try:
            return MappedList.open(self._folder / name)
        except (TornListError, OSError):
            return None

    def _read(self, declaration: ListDeclaration, edition: Edition, now: float) -> Collected | None:
        octets = self.content(declaration.name, edition.sha256)
        if octets is None or len(octets) > MAX_OCTETS:
            return None
        source = Source(
            name=edition.origin or declaration.name,
            octets=octets,
            format=declaration.format,
            fields=declaration.fields,
        )
        return read_source(source, now)

    def _compile(self, collected: Collected, declaration: ListDeclaration, digest: str) -> None:
        path = self._folder / _compiled_name(declaration, digest)
        compile_list(collected, Origin(sha256=digest, recipe=declaration.recipe), path, self._files)

    def _difference(
        self, declaration: ListDeclaration, collected: Collected, served: Edition | None, now: float
    ) -> tuple[int, int]:
        before = self._read(declaration, served, now) if served is not None else None
        if before is None:
            return collected.count, 0
        old, new = before.signatures(), collected.signatures()
        return len(new - old), len(old - new)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep garbage collection from going through millions of small objects, none of them in a cycle."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _compiled_name(declaration: ListDeclaration, digest: str) -> str:
    made = hashlib.sha256(f"{digest} {declaration.recipe}".encode()).hexdigest()
    return f"{declaration.name}-{made[:_DIGEST_CHARACTERS]}.list"


def _refusal(declaration: ListDeclaration, collected: Collected) -> str:
    if collected.bad_lines and declaration.on_bad_line == "refuse":
        return f"{collected.bad_lines} lines could not be read, and on_bad_line is refuse"
    if collected.bad_lines and not collected.count:
        return f"none of its {collected.bad_lines} lines could be read"
    return ""


def _jumped(declaration: ListDeclaration, before: int, after: int) -> str:
    if abs(after - before) < SMALL_CHANGE:
        return ""
    if after < before * declaration.shrink:
        return f"it shrank from {before} to {after} entries, to less than {declaration.shrink:g} of what it was"
    if after > before * declaration.grow and before:
        return f"it grew from {before} to {after} entries, to more than {declaration.grow:g} times what it was"
    return ""
