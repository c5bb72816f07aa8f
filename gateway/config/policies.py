"""Policy files → one ``PolicySet``: merged, validated, each domain claimed once."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway.config.complaint import Complaint, read_model, shown
from gateway.config.fields import Folder, domain_name, mailbox
from gateway.config.filter_settings import ANTIVIRUS, FilterReader, frozen
from gateway.config.layers import Layered, Table
from gateway.config.next_hop import MX
from gateway.config.policy_files import (
    DEFAULT_NAME,
    PolicyFiles,
    default_layers,
    domain_layers,
    inherited_layers,
    mailbox_layers,
)
from gateway.config.policy_set import PolicyFile, PolicySet
from gateway.config.policy_table import MailboxTable, PolicyTable, SharedTable, SigningTable
from gateway.config.problem import ConfigError, Problem, dotted
from gateway.config.recipient_list import ListReader
from gateway.config.rule_layers import PolicyRules, RuleReader
from gateway.config.signing_keys import read_signing
from gateway.config.source import Source
from gateway.policy.catalogue import Catalogue
from gateway.policy.domain_policy import DomainPolicy, RecipientCheck
from gateway.policy.incident_terms import USUAL_TERMS, IncidentTerms
from gateway.policy.signing import NO_SIGNING, Signing
from gateway.policy.verdict import Thresholds
from gateway.smtp.address import Mailbox

LIST = "list:"
ANY = "any"


class PolicyReader:
    """Reads the policies of one load.

    ``folder`` is what a Maildir's path starts from; ``max_message`` the node's, which no policy can exceed (None when
    unknown because ``tidegate.toml`` is wrong). ``lists`` reads the files of recipients. ``problems`` collects what is
    wrong; the set is usable only when it stays empty.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        folder: Path,
        max_message: int | None,
        lists: ListReader,
        problems: list[Problem],
    ) -> None:
        self._lists = lists
        self._folder = Folder(folder)
        self._max_message = max_message
        self._filters = FilterReader(catalogue)
        self._rules = RuleReader(catalogue, lists, problems)
        self._problems = problems

    def read(self, files: PolicyFiles) -> PolicySet:
        """Return the policies of the files."""
        default = self._default(files)
        read = [self._file(source, domain_layers(files, source)) for source in files.others]
        found = [file for file in read if file is not None]
        self._problems.extend(_claimed_twice(files))
        return _policy_set(default, default_layers(files), found)

    def _default(self, files: PolicyFiles) -> DomainPolicy:
        layered = default_layers(files)
        if files.default is not None:
            for key in ("domains", "mailbox"):
                if key in files.default.data:
                    self._problems.append(
                        layered.problem((key,), "belongs in a policy file of its own; this file claims no domain")
                    )
        policy = self._policy(SharedTable, layered.merged(), layered) if layered.layers else None
        self._rules.check(layered)
        built_in = DomainPolicy(name=DEFAULT_NAME, filters=self._filters.read({}, {}).settings)
        # Foreign mail follows the recipient's MX, whatever next hop the configured domains share.
        return replace(policy or built_in, name=DEFAULT_NAME, next_hop=(MX,))

    def _file(self, source: Source, layered: Layered) -> PolicyFile | None:
        policy = self._policy(PolicyTable, layered.merged(), layered)
        self._rules.check(layered)
        if policy is not None:
            stem = source_stem(source)
            policy = replace(policy, name=stem, customer=policy.customer or stem)
        mailboxes = self._mailboxes(source, layered, policy)
        return PolicyFile(source.name, policy, layered, mailboxes) if policy else None

    def _mailboxes(
        self, source: Source, layered: Layered, domain: DomainPolicy | None
    ) -> Mapping[str, tuple[DomainPolicy, Layered]]:
        tables = source.data.get("mailbox", {})
        if not isinstance(tables, Mapping):
            text = f'tables such as [mailbox."anna@example.com".scores] are wanted, not {shown(tables)}'
            self._problems.append(Problem(source.name, source.line(("mailbox",)), "mailbox", text))
            return {}
        inherited = inherited_layers(layered)
        seen: dict[Hashable, DomainPolicy | None] = {_key(inherited.merged(), self._rules.read(inherited)): domain}
        found: dict[str, tuple[DomainPolicy, Layered]] = {}
        written: dict[str, str] = {}
        for address in tables:
            layers = mailbox_layers(inherited, source, address)
            key = self._mailbox_key(address, layers, domain)
            if key in written:
                self._add(layers, Complaint((), f'the same mailbox as "{written[key]}"'))
            own = self._mailbox_policy(layers, domain, seen)
            if key and own:
                written.setdefault(key, address)
                found[key] = (own, mailbox_layers(layered, source, address))
        return MappingProxyType(found)

    def _mailbox_key(self, address: str, layers: Layered, domain: DomainPolicy | None) -> str:
        try:
            found: Mailbox = mailbox(address)
        except ValueError as error:
            self._add(layers, Complaint((), str(error)))
            return ""
        if domain is not None and found.domain not in domain.domains:
            self._add(
                layers,
                Complaint((), f"{found.domain} is no domain of this policy; allowed: {', '.join(domain.domains)}"),
            )
        return found.key

    def _mailbox_policy(
        self, layers: Layered, domain: DomainPolicy | None, seen: dict[Hashable, DomainPolicy | None]
    ) -> DomainPolicy | None:
        if not layers.layers[-1].is_table:
            self._add(layers, Complaint((), "a table is wanted"))
            return None
        merged = layers.merged()
        self._rules.check(layers)
        key = _key(merged, self._rules.read(layers))
        if key not in seen:
            own = self._policy(MailboxTable, merged, layers)
            seen[key] = (
                own
                and domain
                and replace(
                    own,
                    name=domain.name,
                    domains=domain.domains,
                    customer=domain.customer,
                    next_hop_owner=domain.next_hop_owner,
                    incidents=domain.incidents,
                    signing=domain.signing,
                )
            )
        return seen[key]

    def _policy(self, kind: type[MailboxTable], merged: Table, layered: Layered) -> DomainPolicy | None:
        table = read_model(kind, merged, self._folder)
        filters = self._filters.read(_table(merged.get("filters")), _table(merged.get(ANTIVIRUS)))
        wrong: Iterable[Complaint] = self._cross_check(table) if isinstance(table, MailboxTable) else table
        for complaint in (*wrong, *_without_next_hop(kind, merged), *filters.complaints):
            self._add(layered, complaint)
        recipients = self._recipients(merged.get("recipients", ANY), layered)
        rules = self._rules.read(layered)
        if not isinstance(table, MailboxTable):
            return None
        signing = self._signing(table.signing, layered) if isinstance(table, PolicyTable) else NO_SIGNING
        return DomainPolicy(
            name="",
            domains=table.domains if isinstance(table, PolicyTable) else (),
            customer=table.customer if isinstance(table, SharedTable) else "",
            next_hop=table.next_hop,
            next_hop_owner=table.next_hop_owner if isinstance(table, SharedTable) else "operator",
            incidents=_incident_terms(table),
            recipients=recipients,
            thresholds=Thresholds(tag=table.scores.tag, quarantine=table.scores.quarantine, reject=table.scores.reject),
            subject_tag=table.scores.subject_tag,
            max_message=table.max_message,
            filters=filters.settings,
            rules=rules.layers,
            rules_off=rules.off,
            signing=signing,
        )

    def _signing(self, table: SigningTable, layered: Layered) -> Signing:
        written = [(key.selector, key.file, key.since) for key in table.keys]
        signing, complaints = read_signing(written, table.seal, layered, self._lists)
        for complaint in complaints:
            self._add(layered, complaint)
        return signing

    def _cross_check(self, table: MailboxTable) -> Iterator[Complaint]:
        if table.max_message and self._max_message and table.max_message > self._max_message:
            yield Complaint(
                ("max_message",), f"at most max_message of tidegate.toml, {self._max_message} octets, is allowed"
            )

    def _recipients(self, text: Any, layered: Layered) -> RecipientCheck:
        if not (isinstance(text, str) and text.startswith(LIST)):
            return RecipientCheck(mode=str(text))
        path = layered.setter_folder(("recipients",)) / text.removeprefix(LIST)
        try:
            return RecipientCheck(mode="list", source=str(path), addresses=self._lists.read(path))
        except ConfigError as error:
            # A list that cannot be opened is wrong where it is named, a bad line in the list where it stands.
            for problem in error.problems:
                if problem.line:
                    self._problems.append(problem)
                else:
                    self._add(layered, Complaint(("recipients",), f"{problem.file} {problem.text}"))
            return RecipientCheck(mode="list", source=str(path))

    def _add(self, layered: Layered, complaint: Complaint) -> None:
        self._problems.append(layered.problem(complaint.path, complaint.text))


def _incident_terms(table: MailboxTable) -> IncidentTerms:
    if not isinstance(table, SharedTable):
        return USUAL_TERMS
    written = table.incidents
    return IncidentTerms(
        confirm=written.confirm,
        confirm_virus=written.confirm_virus,
        window_seconds=written.window,
        block=written.block,
    )


def _key(merged: Table, rules: PolicyRules) -> Hashable:
    """Return what is equal exactly when two mailboxes of one domain have the same policy."""
    return frozen(merged), rules


def _without_next_hop(kind: type[MailboxTable], merged: Table) -> Iterator[Complaint]:
    if kind is PolicyTable and "next_hop" not in merged:
        yield Complaint(("next_hop",), 'missing; where the mail goes is wanted, such as ["smtp://10.1.0.5:25"]')


def source_stem(source: Source) -> str:
    """Return the policy's name: the file's name without ``.toml``."""
    return Path(source.name).name.removesuffix(".toml")


def _table(value: Any) -> Table:
    return value if isinstance(value, Mapping) else {}


def _claimed_twice(files: PolicyFiles) -> Iterator[Problem]:
    """Yield each domain that a second file claims; as written, so that other errors of a file hide none."""
    claims: dict[str, Source] = {}
    for source in files.others:
        for index, domain in _written_domains(source):
            first = claims.setdefault(domain, source)
            if first is not source:
                at = next(line for line, other in _written_domains(first) if other == domain)
                place = f"{first.name}:{first.line(('domains', at))}"
                text = f"{domain} is claimed by {place} already; one policy a domain is allowed"
                yield Problem(source.name, source.line(("domains", index)), dotted(("domains", index)), text)


def _written_domains(source: Source) -> Iterator[tuple[int, str]]:
    written = source.data.get("domains")
    for index, text in enumerate(written if isinstance(written, list) else ()):
        # What is no domain, or no text at all, is a problem of its own already.
        with suppress(ValueError):
            yield index, domain_name(text if isinstance(text, str) else "")


def _policy_set(default: DomainPolicy, layered: Layered, files: list[PolicyFile]) -> PolicySet:
    by_domain = {domain: file.policy for file in files for domain in file.policy.domains}
    by_mailbox = {key: own for file in files for key, (own, _) in file.mailboxes.items() if own is not file.policy}
    return PolicySet(
        default=default,
        default_layered=layered,
        files=tuple(files),
        by_domain=MappingProxyType(by_domain),
        by_mailbox=MappingProxyType(by_mailbox),
        with_mailboxes=frozenset(key.rpartition("@")[2] for key in by_mailbox),
    )
