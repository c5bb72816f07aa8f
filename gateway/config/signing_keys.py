"""``[signing] keys``: the key files of a policy, read with it.

A key's text is one of the snapshot's, so that another key in the same file is another configuration.
"""

from collections.abc import Sequence
from datetime import date

from gateway.config.complaint import Complaint
from gateway.config.layers import Layered
from gateway.config.problem import ConfigError
from gateway.config.recipient_list import ListReader
from gateway.policy.signing import Signing, SigningKey, SigningKeyError, read_signing_key
from gateway.smtp.domain import DomainError, normalise_domain


def selector(text: str) -> str:
    """Return a selector in lower case (RFC 6376 §3.1); ValueError says what is allowed."""
    try:
        return normalise_domain(f"{text}.x").removesuffix(".x")
    except DomainError as error:
        raise ValueError(f'a selector such as "s2026a" is wanted: {error}') from error


def day(text: str) -> str:
    """Return a day as written; ValueError says what is allowed."""
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError('a day such as "2026-01-31" is wanted') from None
    return text


def read_signing(
    keys: Sequence[tuple[str, str, str]], seal: str, layered: Layered, texts: ListReader
) -> tuple[Signing, list[Complaint]]:
    """Return the keys that can be used, and what is wrong with the others; ``keys``: selector, file, day or ""."""
    read: list[SigningKey] = []
    complaints: list[Complaint] = []
    for number, (name, file, written) in enumerate(keys):
        path = layered.setter_folder(("signing", "keys")) / file
        since = date.fromisoformat(written) if written else date.min
        try:
            read.append(read_signing_key(texts.text(path).encode(), "", name, since))
        except ConfigError as error:
            complaints += [Complaint(("signing", "keys", number, "file"), f"{p.file} {p.text}") for p in error.problems]
        except SigningKeyError as error:
            complaints.append(Complaint(("signing", "keys", number, "file"), f"{path} is {error}"))
    return Signing(keys=tuple(read), seal=seal), complaints
