"""The configuration a transaction begins and ends with: read once, never changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from gateway.config.layers import Layered
from gateway.config.models import GatewayConfig
from gateway.config.policy_set import PolicySet

# 48 bits: two configurations of one machine never share it by accident, and it fits a log line.
DIGEST_CHARACTERS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything the files say.

    ``texts`` are the files read (configuration, policies, lists) by their names, for ``source.Kept``; ``digest`` is of
    their contents, so workers can tell that they serve the same; ``path`` is the configuration file, None for the
    embedded default; ``layered`` where each key of it was written.
    """

    config: GatewayConfig
    policies: PolicySet
    digest: str
    texts: Mapping[str, str]
    path: Path | None
    layered: Layered


def digest_of(contents: Iterable[tuple[str, str]]) -> str:
    """Return the digest of (file name, text) pairs in order; folders do not count, so a copy elsewhere has the same."""
    digest = sha256()
    for name, text in contents:
        digest.update(f"{Path(name).name}\0{len(text)}\0{text}\0".encode())
    return digest.hexdigest()[:DIGEST_CHARACTERS]
