"""Does a client that nobody knows come back when it is asked to? See RFC 6647 §2.

A triplet of client network (IPv4 /24, IPv6 /64), reverse-path and recipient that is new is deferred until ``delay``
has passed; mail servers come back (RFC 5321 §4.5.4.1), most spam software does not. Nobody waits who is known: a
triplet that has passed, a network of which ``client_after`` triplets have, a client of good standing, a correspondent
of the recipient. ``spf_pass = true`` lets through at once whoever SPF (RFC 7208) says may send for the domain, unless
the domain says so of everybody (``+all`` and its disguises): a record that lets strangers pass too vouches for nobody.

Off unless a policy sets ``enabled = true``: it delays first contacts. What it delayed is told by ``passed``, whose
detail says for how long. Asked for mail from outside only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPV4LENGTH, IPV6LENGTH, IPv4Address, IPv6Address
from typing import ClassVar

from gateway.config.units import Duration
from gateway.mail.connection import Role
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import Finding
from gateway.senderauth.spf.evaluate import check_mail_from
from gateway.senderauth.spf.result import SpfQuestion
from gateway.senderauth.word import Word
from gateway.smtp.replies import GREYLISTED
from gateway.state.greylist import Greylist, Passing, Triplet, Waits
from gateway.state.names import standing_names
from gateway.state.network import IpAddress, neighbourhood_key, network_key
from gateway.state.penpals import Penpals
from gateway.state.reputation import Reputation

# For documentation (RFC 5737 §3, RFC 3849 §2).
_NOBODY_4 = IPv4Address("192.0.2.1"), IPv4Address("203.0.113.1")
_NOBODY_6 = IPv6Address("2001:db8::1")
# Bits of a prefix: no holder has a wider network.
_WIDEST_4, _WIDEST_6 = 8, 12
# Good mail of a few messages' weight, and next to no bad: enough to be spared a wait, not to be trusted.
_GOOD_MESSAGES = 3.0
_BAD_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class GreylistOptions:
    """See the module; ``window`` is how long a new triplet may take to come back, ``lifetime`` how long it is known."""

    # RFC 6647 §5: one minute to a day; most queues retry first after five minutes or sooner.
    delay: Duration = 300.0
    # RFC 6647 §5: at least a day, since some senders retry seldom.
    window: Duration = 172_800.0
    # RFC 6647 §5: at least one week; a month's newsletter comes again within five weeks.
    lifetime: Duration = 3_024_000.0
    client_after: int = 5
    spf_pass: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.delay < self.window:
            raise ValueError("delay is more than 0s and less than window")
        if self.client_after < 0:
            raise ValueError("client_after is 0 (never) or more")


class GreylistFilter(Filter[GreylistOptions]):
    """Asks the memory that all workers share."""

    stage = Stage.ENVELOPE
    io = True
    per_recipient = True
    enabled = False
    Options: ClassVar[type] = GreylistOptions
    results: ClassVar[Mapping[str, str]] = {
        "new": "seen for the first time",
        "early": "back before `delay` has passed",
        "passed": "back in time, and known from now on",
    }
    on: ClassVar[Mapping[str, float | Action]] = {"new": Action.DEFER, "early": Action.DEFER}
    defer = GREYLISTED

    def __init__(self, options: GreylistOptions) -> None:
        super().__init__(options)
        self._waits = Waits(
            delay_seconds=options.delay,
            window_seconds=options.window,
            lifetime_seconds=options.lifetime,
            client_after=options.client_after,
        )

    def concerns(self, tx: Transaction) -> bool:
        """Whether the mail comes from outside."""
        return tx.connection.role is Role.MX

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return what the triplet is told, or None when it is known."""
        memory = ctx.service(Greylist)
        if memory is None or not self.concerns(tx) or await self._is_excused(tx, ctx):
            return None
        answer = memory.ask(_triplet(tx), self._waits)
        match answer.passing:
            case Passing.NEW:
                return self.found("new", f"new: try again in {answer.left_seconds:.0f} s")
            case Passing.EARLY:
                return self.found("early", f"try again in {answer.left_seconds:.0f} s")
            case Passing.PASSED:
                waited = f"{answer.waited_seconds:.0f}"
                return self.found("passed", f"came back after {waited} s", greylisted_seconds=waited)
            case Passing.KNOWN:
                return None

    async def _is_excused(self, tx: Transaction, ctx: Context) -> bool:
        penpals, reputation = ctx.service(Penpals), ctx.service(Reputation)
        sender = tx.envelope.reverse_path
        if penpals and sender.mailbox and penpals.letters(tx.recipients[0].key, sender.key):
            return True
        if reputation and _is_good(reputation, tx):
            return True
        return self.options.spf_pass and await _spf_vouches(tx, ctx)


def _triplet(tx: Transaction) -> Triplet:
    return Triplet(
        network=_network(tx.connection.client_address),
        reverse_path=tx.envelope.reverse_path.key,
        recipient=tx.recipients[0].key,
    )


def _network(client: IpAddress) -> str:
    # RFC 6647 §2.3: the network, for senders that retry from another of their addresses. Of IPv6 a /64 is one holder.
    return neighbourhood_key(client) if client.version == 4 else network_key(client)  # noqa: PLR2004 - the IP version


def _is_good(reputation: Reputation, tx: Transaction) -> bool:
    mailbox = tx.envelope.reverse_path.mailbox
    names = standing_names(tx.connection.client_address, tx.connection.client_name, mailbox.domain if mailbox else "")
    # The client's own standing, not that of its neighbours.
    standing = reputation.standing(names[0])
    return standing.good >= _GOOD_MESSAGES and standing.bad_share <= _BAD_SHARE


async def _spf_vouches(tx: Transaction, ctx: Context) -> bool:
    """Return whether SPF passes the client, and not just anybody."""
    client = tx.connection.client_address
    if not await _spf_passes(tx, ctx, client):
        return False
    for stranger in _strangers(client):
        if await _spf_passes(tx, ctx, stranger):
            return False
    return True


async def _spf_passes(tx: Transaction, ctx: Context, client: IpAddress) -> bool:
    question = SpfQuestion(
        client=client,
        helo=tx.connection.helo,
        receiver=ctx.hostname,
        utc_second=int(ctx.clock.stamp().utc),
    )
    return (await check_mail_from(ctx.resolver, question, tx.envelope.reverse_path)).result is Word.PASS


def _strangers(client: IpAddress) -> tuple[IpAddress, IpAddress]:
    """Return an address that nobody has, and the client's neighbour in a network wider than any holder's."""
    if isinstance(client, IPv4Address):
        neighbour = IPv4Address(int(client) ^ 1 << (IPV4LENGTH - _WIDEST_4))
        return next(nobody for nobody in _NOBODY_4 if nobody.packed[0] != client.packed[0]), neighbour
    return _NOBODY_6, IPv6Address(int(client) ^ 1 << (IPV6LENGTH - _WIDEST_6))
