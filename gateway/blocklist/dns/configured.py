"""Which DNS lists the policies of a snapshot name, and what each of them lists."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.blocklist.dns.health import Kind, WatchedZone, watched
from gateway.blocklist.dns.zone import DnsList
from gateway.config.policy_set import PolicySet
from gateway.policy.domain_policy import DomainPolicy

# The one filter that asks for the client's address; the others ask for names.
_OF_ADDRESSES = "dnsbl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredList:
    """One list as some policy names it; ``filter`` is the filter that asks it."""

    list: DnsList
    kind: Kind
    filter: str


def configured_lists(policies: PolicySet) -> tuple[ConfiguredList, ...]:
    """Return the lists of every enabled filter of every policy, equal ones once."""
    distinct: list[ConfiguredList] = []
    for found in _all(policies):
        if found not in distinct:
            distinct.append(found)
    return tuple(distinct)


def watched_zones(lists: Iterable[ConfiguredList]) -> tuple[WatchedZone, ...]:
    """Return each zone once, for ``HealthWatch``: a zone asked both ways is tested as a list of addresses."""
    zones: dict[str, WatchedZone] = {}
    for one in sorted(lists, key=lambda one: one.kind is not Kind.ADDRESSES):
        zones.setdefault(one.list.zone, watched(one.list, one.kind))
    return tuple(zones.values())


def _all(policies: PolicySet) -> Iterator[ConfiguredList]:
    seen: set[int] = set()
    for policy in (policies.default, *policies.by_domain.values(), *policies.by_mailbox.values()):
        if id(policy) not in seen:
            seen.add(id(policy))
            yield from _of(policy)


def _of(policy: DomainPolicy) -> Iterator[ConfiguredList]:
    for setting in policy.filters.values():
        lists = getattr(setting.options, "lists", ())
        if not setting.enabled or not isinstance(lists, tuple):
            continue
        kind = Kind.ADDRESSES if setting.name == _OF_ADDRESSES else Kind.NAMES
        for one in lists:
            if isinstance(one, DnsList):
                yield ConfiguredList(list=one, kind=kind, filter=setting.name)
