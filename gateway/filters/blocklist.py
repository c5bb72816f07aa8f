"""Is whoever sends this mail on a list of ours? See RFC 5782 §1.

Looked up in the local lists (``blocklists/``) are the client's address and name, its HELO name, the reverse-path and,
once the content is here, the authors and where answers are to go. A listing on an allow list of the client, its name,
the reverse-path or the author speaks for the whole message; of the other identities only for itself. While an allow
list may have the client's name or the reverse-path, nothing is said before RCPT, where both are known. A list that
cannot be read gives temperror, never "not listed", as does a client's name that DNS does not tell. Asked for mail from
outside only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from gateway.blocklist.listing import Identity
from gateway.blocklist.local.finding import ALLOWING, ALLOWING_ON, ON, RESULTS, findings
from gateway.blocklist.local.lists import LocalLists
from gateway.blocklist.local.question import Question, ask_address, ask_mailbox, ask_name
from gateway.mail.connection import Connection, Role
from gateway.mail.content import Content
from gateway.mail.text.addresses import mailboxes
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import TEMPERROR, Findings
from gateway.senderauth.earlier import earlier
from gateway.senderauth.iprev import IprevResult
from gateway.senderauth.word import Word


@dataclass(frozen=True, slots=True, kw_only=True)
class BlocklistOptions:
    """``score``: of a listing on a block list with neither ``weight`` nor ``action``."""

    score: float = 5.0


class Blocklist(Filter[BlocklistOptions]):
    """Looks up in mapped tables; asks nobody."""

    stage = Stage.CONNECT
    Options: ClassVar[type] = BlocklistOptions
    results: ClassVar[Mapping[str, str]] = {**RESULTS, **ALLOWING}
    on: ClassVar[Mapping[str, float | Action]] = {**ON, **ALLOWING_ON}

    def concerns(self, tx: Transaction) -> bool:
        """Whether the mail comes from outside."""
        return tx.connection.role is Role.MX

    async def examine(self, tx: Transaction, ctx: Context) -> Findings:
        """Return every listing that no allow list takes back, and the lists that could not tell."""
        lists = ctx.service(LocalLists)
        if lists is None or lists.is_empty or not self.concerns(tx):
            return None
        if lists.may_allow_later and not tx.recipients:
            return None
        questions = [*_about_connection(tx.connection), *_about_envelope(tx)]
        if tx.received is not None and lists.wants(Identity.AUTHOR, Identity.REPLY_TO):
            questions += _about_header(tx.content)
        # Before the first RCPT a list may want to wait, so that the postmaster can be written to.
        ask = lists.look_up if tx.recipients else lists.look_up_at_door
        found = findings(self.name, ask(questions, ctx.clock.stamp().utc), self.options.score)
        if lists.names_clients and (unknown := _why_unnamed(tx, ctx)):
            found = (*found, self.found(TEMPERROR, f"the client's name is not known: {unknown}"))
        return found or None


def _why_unnamed(tx: Transaction, ctx: Context) -> str:
    """Return why DNS did not tell the client's name, "" where it did or nobody has asked."""
    told = None if tx.connection.client_name else earlier(ctx.resolver).of(tx).get("iprev")
    return told.reason if isinstance(told, IprevResult) and told.result is Word.TEMPERROR else ""


def _about_connection(connection: Connection) -> Iterator[Question]:
    yield ask_address(Identity.CLIENT, connection.client_address)
    for of, name in ((Identity.CLIENT_NAME, connection.client_name), (Identity.HELO, connection.helo)):
        if name and (question := ask_name(of, name)) is not None:
            yield question


def _about_envelope(tx: Transaction) -> Iterator[Question]:
    key = tx.envelope.reverse_path.key
    if key and (question := ask_mailbox(Identity.REVERSE_PATH, key)) is not None:
        yield question


def _about_header(content: Content) -> Iterator[Question]:
    for field, of in (("from", Identity.AUTHOR), ("reply-to", Identity.REPLY_TO)):
        for found in content.header.get_all(field):
            for author in mailboxes(found.value):
                if (question := ask_mailbox(of, author.address)) is not None:
                    yield question
