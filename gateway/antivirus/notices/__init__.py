"""What recipients are told, in their language: templates beside this file, ``NAME.LANGUAGE.txt``, with ``$name`` marks.

``part`` stands in place of an attachment that was cut out, ``held`` is the notice about a mail that could not be
cleaned, ``subject`` its subject. Everything from outside is made printable and short: a file's name, a sender's
address or a virus's name must not become lines of the notice.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from string import Template
from time import gmtime, strftime

# What a reader needs to recognise a file or a mail; the rest is cut.
_MAX_CHARACTERS = 200


class Language(StrEnum):
    """The languages there are templates for."""

    EN = "en"
    ZH = "zh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What every notice about one message tells: ``at`` UTC seconds, ``contact`` whom to ask (an address)."""

    trace_id: str
    at: float
    contact: str
    keeps_original: bool


def part_removed(language: Language, about: Circumstances, *, file: str, size: int, virus: str) -> str:
    """Return the text in place of an attachment; lines end in LF."""
    facts = _common(about, virus) | {"file": _shown(file) or "-", "size": f"{size:,}"}
    kept = _template("kept", language).substitute(facts) if about.keeps_original else ""
    return _template("part", language).substitute(facts, kept=kept)


def message_held(language: Language, about: Circumstances, *, sender: str, subject: str, virus: str) -> tuple[str, str]:
    """Return subject and text of the notice about a mail that is kept back; lines end in LF."""
    facts = _common(about, virus)
    text = _template("held", language).substitute(facts, sender=_shown(sender) or "<>", subject=_shown(subject))
    return _template("subject", language).substitute(facts).strip(), text


def _common(about: Circumstances, virus: str) -> dict[str, str]:
    return {
        "virus": _shown(virus),
        "time": strftime("%Y-%m-%d %H:%M:%S UTC", gmtime(about.at)),
        "trace": about.trace_id,
        "contact": _shown(about.contact),
    }


@cache
def _template(name: str, language: Language) -> Template:
    return Template((files(__package__) / f"{name}.{language.value}.txt").read_text(encoding="utf-8"))


def _shown(text: str) -> str:
    """Return text that stays within its line."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable if len(printable) <= _MAX_CHARACTERS else f"{printable[: _MAX_CHARACTERS - 1]}…"
