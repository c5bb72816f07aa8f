"""``public_suffixes`` of tidegate.toml: a newer list of public suffixes than the one that is shipped.

The file's text is one of the snapshot's, so that a new edition is another configuration and a reload takes it.
"""

from gateway.config.complaint import Complaint
from gateway.config.models import GatewayConfig
from gateway.config.problem import ConfigError
from gateway.config.recipient_list import ListReader
from gateway.config.snapshot import Snapshot
from gateway.mail.text.hosts import SuffixList, read_list

_KEY = ("public_suffixes",)


def read_suffixes(config: GatewayConfig, texts: ListReader) -> list[Complaint]:
    """Read the file into the snapshot's texts; return what is wrong with it."""
    if config.public_suffixes is None:
        return []
    try:
        read_list(texts.text(config.public_suffixes))
    except ConfigError as error:
        return [Complaint(_KEY, f"{problem.file} {problem.text}") for problem in error.problems]
    except ValueError as error:
        return [Complaint(_KEY, f"{config.public_suffixes} is {error}")]
    return []


def suffixes_of(snapshot: Snapshot) -> SuffixList | None:
    """Return the list that a snapshot names, None for the one that is shipped."""
    path = snapshot.config.public_suffixes
    return None if path is None else read_list(snapshot.texts[str(path)])
