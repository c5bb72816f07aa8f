"""Does this mail lead to, or carry, what is on a list of ours? See RFC 5782 §1.

Looked up in the local lists (``blocklists/``) are the links of text and HTML as URLs and by their hosts and addresses,
the SHA-256 of each attachment as decoded, and, where a list names ``name-server`` among its identities, the name
servers of the reverse-path's and the authors' domains, by name and by address. An allow list takes back only what it
lists itself. Of more links than ``most`` a sample is looked up that the sender cannot foretell, and the mail is told
as such. Nothing is decoded that no list has entries for. Asked for mail from outside
only.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from gateway.blocklist.links import LIGHT_OCTETS, links_of
from gateway.blocklist.listing import Identity
from gateway.blocklist.local.finding import ON, RESULTS, findings
from gateway.blocklist.local.lists import LocalLists
from gateway.blocklist.local.name_servers import name_servers
from gateway.blocklist.local.question import Question, ask_digest, ask_url
from gateway.blocklist.sample import Sampler
from gateway.mail.connection import Role
from gateway.mail.content import Content
from gateway.mail.text.addresses import mailboxes
from gateway.mail.text.hosts import registrable
from gateway.mail.text.urls import Url
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import TEMPERROR, Finding, Findings

# Attachments of one message; decoded one after another, so that they never lie in memory together.
_MOST_ATTACHMENTS = 200
# Domains of the reverse-path and of authors.
_MOST_DOMAINS = 5
_CROWD = "too-many"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlocklistContentOptions:
    """``score``: of a listing without ``weight`` and ``action``; ``most``: different links looked up of one message."""

    score: float = 5.0
    # A look-up costs microseconds; a message with thousands is there to cost them.
    most: int = 500


class BlocklistContent(Filter[BlocklistContentOptions]):
    """Decodes, looks up in mapped tables, and asks DNS for name servers where a list wants them."""

    stage = Stage.DATA
    io = True
    Options: ClassVar[type] = BlocklistContentOptions
    results: ClassVar[Mapping[str, str]] = {**RESULTS, _CROWD: "more links than `most`: some were not looked up"}
    on: ClassVar[Mapping[str, float | Action]] = {**ON, _CROWD: 2.0}
    grounds: ClassVar[Mapping[str, Ground]] = dict.fromkeys(RESULTS, Ground.HARMFUL)

    def rests(self, ctx: Context) -> bool:
        """Whether no list has anything that stands in contents."""
        lists = ctx.service(LocalLists)
        return lists is None or not lists.wants(Identity.URL, Identity.ATTACHMENT, Identity.NAME_SERVER)

    def concerns(self, tx: Transaction) -> bool:
        """Whether the mail comes from outside."""
        return tx.connection.role is Role.MX

    async def examine(self, tx: Transaction, ctx: Context) -> Findings:
        """Return every listing that no allow list takes back, and what could not be asked."""
        lists = ctx.service(LocalLists)
        if lists is None or lists.is_empty or not self.concerns(tx):
            return None
        questions: list[Question] = []
        failed: list[Finding] = []
        if lists.wants(Identity.URL):
            questions += await self._links(tx.content, ctx.service(Sampler) or Sampler(), failed)
        if lists.wants(Identity.ATTACHMENT):
            heavy = tx.content.size > LIGHT_OCTETS
            questions += await asyncio.to_thread(_digests, tx.content) if heavy else _digests(tx.content)
        if lists.wants(Identity.NAME_SERVER):
            servers = await name_servers(ctx.resolver, _domains(tx))
            questions += servers.questions
            failed += [self.found(TEMPERROR, reason) for reason in servers.failures]
        if not questions:
            return tuple(failed) or None
        # Lists that cannot answer are told by the filter that is asked about every mail.
        answer = replace(lists.look_up(questions, ctx.clock.stamp().utc), unusable=())
        return (*findings(self.name, answer, self.options.score), *failed) or None

    async def _links(self, content: Content, sampler: Sampler, failed: list[Finding]) -> list[Question]:
        links = list(dict.fromkeys(_written(link) for link in await links_of(content) if link.host))
        most = self.options.most
        if len(links) > most:
            # Else a crowd of links hides the one that is listed, and nothing tells.
            failed.append(self.found(_CROWD, f"{len(links)} links, of which {most} were looked up"))
        asked = (ask_url(Identity.URL, link) for link in sampler.choose(links, most, str))
        return list({question.text: question for question in asked if question is not None}.values())


def _digests(content: Content) -> list[Question]:
    files = [part for part in content.mime.leaves if part.is_attachment]
    return [
        ask_digest(Identity.ATTACHMENT, hashlib.sha256(part.decoded(content)).hexdigest())
        for part in files[:_MOST_ATTACHMENTS]
    ]


def _domains(tx: Transaction) -> list[str]:
    mailbox = tx.envelope.reverse_path.mailbox
    names = [mailbox.domain] if mailbox else []
    for found in tx.content.header.get_all("from"):
        names += [author.domain for author in mailboxes(found.value)]
    domains = dict.fromkeys(filter(None, map(registrable, names)))
    return list(domains)[:_MOST_DOMAINS]


def _written(link: Url) -> str:
    host = f"[{link.host}]" if ":" in link.host and not link.host.startswith("[") else link.host
    port = f":{link.port}" if link.port else ""
    return f"{link.scheme or 'http'}://{host}{port}{link.path}"
