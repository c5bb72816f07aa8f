"""The hash chain: everything that happened to incidents and evidence, append-only, each row sealing the one before.

A row's **payload** is the digest over its fields, each hidden behind a digest with a salt of its own:

    field salt   = HMAC-SHA-256(row salt, name)
    field digest = SHA-256(field salt ‖ name ‖ 0 ‖ value as canonical JSON)
    payload      = SHA-256(the lines ``name SP field digest LF``, sorted by name)
    digest       = SHA-256(digest of the row before ‖ number, 8 octets big-endian ‖ payload)

Nobody can change or remove a row without breaking every digest behind it. Because of the salts, a row still proves
itself when some of its values are left out: an exported bundle hides what is personal, and retention erases values for
good, while both keep the field's digest (``Row.sealed``). Of a row that does not concern a bundle its payload will do.

The last rows could be cut off without breaking anything. So the head (number and digest) is anchored outside the
database as well: in the file ``head`` beside it, and in the journal, where commands and the keeper record it.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.incidents.values import printable

# What the first row stands on.
ROOT = b"\0" * 32
SALT_OCTETS = 16

TABLE = """
CREATE TABLE chain (
    number INTEGER PRIMARY KEY, at REAL, by TEXT, place TEXT, operation TEXT, kind TEXT, incident INTEGER,
    facts TEXT NOT NULL, salt TEXT NOT NULL, sealed TEXT NOT NULL, digest TEXT NOT NULL
)"""
INDEXES = (
    "CREATE INDEX chain_incident ON chain (incident) WHERE incident IS NOT NULL",
    "CREATE INDEX chain_kind ON chain (kind)",
)
COLUMNS = "number, at, by, place, operation, kind, incident, facts, salt, sealed, digest"
# Everything a row says besides its facts.
HEAD_FIELDS = ("at", "by", "place", "operation", "kind", "incident")


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the chain ended at a moment: its last row's number and digest (hexadecimal)."""

    number: int
    digest: str

    def __str__(self) -> str:
        return f"{self.number}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> "Anchor":
        """Return what ``str`` wrote; ValueError."""
        number, _, digest = text.partition(":")
        if len(digest) != len(ROOT) * 2:
            raise ValueError(f"{text!r} is no anchor; NUMBER:DIGEST is wanted")
        return cls(int(number), bytes.fromhex(digest).hex())


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: ``fields`` are what it says, ``salts`` those fields' salts, ``sealed`` digests of what is left out.

    ``fields`` has the names of ``HEAD_FIELDS`` and, with ``facts.`` before it, of each fact. Salts, digests and
    ``digest`` are hexadecimal.
    """

    number: int
    fields: Mapping[str, Any]
    salts: Mapping[str, str]
    digest: str
    sealed: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What happened, "" when that is sealed."""
        return str(self.fields.get("kind") or "")

    @property
    def incident(self) -> int | None:
        """The incident it concerns."""
        return self.fields.get("incident")

    @property
    def facts(self) -> dict[str, Any]:
        """The facts that are not left out."""
        return {name[6:]: value for name, value in self.fields.items() if name.startswith("facts.")}

    def payload(self) -> bytes:
        """Return the digest of everything it says; ValueError when a salt is none."""
        digests = dict(self.sealed)
        for name, value in self.fields.items():
            digests[name] = _field_digest(bytes.fromhex(self.salts[name]), name, value).hex()
        return hashlib.sha256("".join(f"{name} {digests[name]}\n" for name in sorted(digests)).encode()).digest()

    def without(self, hidden: Callable[[str], bool]) -> "Row":
        """Return the row with the fields that ``hidden`` names sealed."""
        sealed = dict(self.sealed)
        for name, value in self.fields.items():
            if hidden(name):
                sealed[name] = _field_digest(bytes.fromhex(self.salts[name]), name, value).hex()
        kept = {name: value for name, value in self.fields.items() if name not in sealed}
        return Row(
            number=self.number,
            fields=kept,
            salts={name: self.salts[name] for name in kept},
            digest=self.digest,
            sealed=sealed,
        )


def link(previous: bytes, number: int, payload: bytes) -> bytes:
    """Return a row's digest."""
    return hashlib.sha256(previous + number.to_bytes(8, "big") + payload).digest()


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def canonical(value: Any) -> bytes:
    """Return a value as the one JSON text that is hashed."""
    return _encode(value).encode("ascii")


def _field_digest(salt: bytes, name: str, value: Any) -> bytes:
    return hashlib.sha256(salt + name.encode() + b"\0" + canonical(value)).digest()


def _field_salt(row_salt: bytes, name: str) -> bytes:
    return hmac.digest(row_salt, name.encode(), "sha256")


def field_names(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts under the names that their fields have."""
    return {f"facts.{name}": value for name, value in facts.items()}


class Executes(Protocol):
    """A transaction, or what stands for one."""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement and return its rows."""
        ...


class Appender:
    """Appends rows within one transaction."""

    def __init__(self, transaction: Executes, random_octets: Callable[[int], bytes]) -> None:
        self._transaction, self._random_octets = transaction, random_octets
        rows = transaction.execute("SELECT number, digest FROM chain ORDER BY number DESC LIMIT 1")
        self.head = Anchor(int(rows[0][0]), str(rows[0][1])) if rows else Anchor(0, ROOT.hex())

    def append(self, head: Mapping[str, Any], facts: Mapping[str, Any]) -> int:
        """Append one row and return its number; ``head`` has the ``HEAD_FIELDS``."""
        number = self.head.number + 1
        salt = self._random_octets(SALT_OCTETS)
        # As it will be read back: numbers for keys, tuples and odd texts would else break the digest.
        plain: dict[str, Any] = json.loads(json.dumps(clean(facts), allow_nan=False))
        fields = {name: head[name] for name in HEAD_FIELDS} | field_names(plain)
        row = Row(
            number=number,
            fields=fields,
            salts={name: _field_salt(salt, name).hex() for name in fields},
            digest="",
        )
        digest = link(bytes.fromhex(self.head.digest), number, row.payload()).hex()
        self._transaction.execute(
            f"INSERT INTO chain ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '{{}}', ?)",  # noqa: S608 - constants
            (
                number,
                *(head[name] for name in HEAD_FIELDS),
                json.dumps(plain, ensure_ascii=False, separators=(",", ":")),
                salt.hex(),
                digest,
            ),
        )
        self.head = Anchor(number, digest)
        return number


def clean(value: Any) -> Any:
    """Return a value with every text printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)).replace("\n", "\\n"): clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(each) for each in value]
    return value


def stored_row(values: tuple[Any, ...]) -> Row:
    """Return a row as the table has it (``COLUMNS``); ValueError, TypeError for one that never was."""
    number, *head, facts, salt, sealed, digest = values
    kept: dict[str, str] = json.loads(sealed)
    fields = {name: value for name, value in zip(HEAD_FIELDS, head, strict=True) if name not in kept}
    fields |= {name: value for name, value in field_names(json.loads(facts)).items() if name not in kept}
    if salt.startswith("{"):
        salts: dict[str, str] = json.loads(salt)
    else:
        row_salt = bytes.fromhex(salt)
        salts = {name: _field_salt(row_salt, name).hex() for name in fields}
    return Row(number=number, fields=fields, salts=salts, digest=digest, sealed=kept)


def is_as_written(values: tuple[Any, ...]) -> bool:
    """Whether the texts of a readable stored row are those that ``Appender`` or ``erase`` wrote of what it says.

    JSON may say a thing twice, or what was erased, and readers differ about which holds.
    """
    facts, salt, sealed, _ = values[-4:]
    said, erased = json.loads(facts), json.loads(sealed)
    plain = facts == json.dumps(said, ensure_ascii=False, separators=(",", ":")) and sealed == _encode(erased)
    apart = not erased.keys() & field_names(said).keys() and all(name.startswith("facts.") for name in erased)
    salted = json.loads(salt) if salt.startswith("{") else None
    names = {*HEAD_FIELDS, *field_names(said)}
    fresh = salt == bytes.fromhex(salt).hex() if salted is None else salt == _encode(salted) and salted.keys() == names
    return plain and apart and fresh


def erase(transaction: Executes, row: Row, hidden: Callable[[str], bool]) -> None:
    """Forget a row's facts that ``hidden`` names, for good; the row goes on proving itself.

    The row's salt goes with them, so that what was erased cannot be guessed and tried.
    """
    left = row.without(lambda name: name.startswith("facts.") and hidden(name))
    transaction.execute(
        "UPDATE chain SET facts = ?, salt = ?, sealed = ? WHERE number = ?",
        (
            json.dumps(left.facts, ensure_ascii=False, separators=(",", ":")),
            json.dumps(dict(left.salts), sort_keys=True, separators=(",", ":")),
            json.dumps(dict(left.sealed), sort_keys=True, separators=(",", ":")),
            row.number,
        ),
    )


def links(rows: Iterator[Row], previous: bytes) -> Iterator[tuple[Row, str]]:
    """Walk rows in order from ``previous``; yield each with what is wrong with it, "" for nothing."""
    number = None
    for row in rows:
        wrong = ""
        if number is not None and row.number != number + 1:
            wrong = f"rows {number + 1} to {row.number - 1} are missing"
        try:
            computed = link(previous, row.number, row.payload())
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            computed, wrong = b"", f"it cannot be read: {error}"
        if not wrong and computed.hex() != row.digest:
            wrong = "it, or the row before it, was altered"
        yield row, wrong
        number = row.number
        try:
            previous = bytes.fromhex(row.digest)
        except (ValueError, TypeError):
            previous = b""
