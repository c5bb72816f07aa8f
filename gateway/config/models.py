"""``tidegate.toml`` as typed, frozen values (configuration.md). Every bound carries its reason.

Defaults here are the built-in layer of the merge. Durations are seconds (float), sizes octets (int) once read. Checks
that concern the machine (files that must exist) or several keys hold for what is read from files; what the program
builds itself is taken as it is.
"""

import ssl
from datetime import time
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from gateway.config.abuse_desk import Complaints, Reporting
from gateway.config.dmarc_reports import DmarcReports
from gateway.config.fields import (
    Address,
    ClockTime,
    DnsServer,
    Domain,
    Endpoint,
    Network,
    OptionalEndpoint,
    OptionalPath,
    PathField,
    ScannerField,
    Text,
    Wait,
    folder_of,
    several,
    wrong_at,
)
from gateway.config.incidents import Incidents
from gateway.config.service_level import ServiceLevel
from gateway.config.units import Duration, Rate, RateField, Size
from gateway.mail.connection import Role
from gateway.rules import prefilter

LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
# RFC 5321 §4.5.3.1.7: content of 64K octets at least.
MIN_MESSAGE_OCTETS = 64 * 1024
# More than any machine's cores; a typing error must not start ten thousand processes.
MAX_WORKERS = 1024


class Section(BaseModel):
    """A table: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False, allow_inf_nan=False)


class Contact(Section):
    """``[contact]``: who answers for this node."""

    postmaster: Address = ""
    abuse: Address = ""
    telephone: Text = ""


class Tls(Section):
    """``tls = {…}`` of a listener: STARTTLS, or TLS from the first octet when ``implicit``."""

    certificate: PathField
    key: PathField
    implicit: bool = False

    @model_validator(mode="after")
    def _loads(self, info: ValidationInfo) -> "Tls":
        if folder_of(info) is not None:
            for name, path in (("certificate", self.certificate), ("key", self.key)):
                _check_readable(name, path)
            _check_pair(self)
        return self


class Listen(Section):
    """One ``[[listen]]`` table."""

    address: Endpoint
    role: Role = Role.MX
    tls: Tls | None = None
    networks: tuple[Network, ...] = ()
    proxy_protocol_from: tuple[Network, ...] = ()
    xclient_from: tuple[Network, ...] = ()

    @field_validator("role", mode="after")
    @classmethod
    def _known_role(cls, role: Role) -> Role:
        if role is Role.SUBMISSION:
            raise ValueError("submission is not supported by this version yet; allowed: mx, relay")
        return role

    @field_validator("networks", "proxy_protocol_from", "xclient_from", mode="after")
    @classmethod
    def _not_everybody(cls, networks: tuple[Network, ...]) -> tuple[Network, ...]:
        for index, network in enumerate(networks):
            if network.prefixlen == 0:
                raise wrong_at(
                    (index,), f"{network} is everybody, which makes an open relay; name the networks you run"
                )
        return networks

    @model_validator(mode="after")
    def _networks_fit_role(self, info: ValidationInfo) -> "Listen":
        if folder_of(info) is None:
            return self
        if self.role is Role.RELAY and not self.networks:
            raise wrong_at(
                ("networks",), 'missing; role "relay" takes mail from the networks listed here, and from nobody else'
            )
        if self.role is not Role.RELAY and self.networks:
            raise wrong_at(("networks",), f'only for role "relay"; role "{self.role}" takes mail from everybody')
        return self


class Smtp(Section):
    """``[smtp]``: how the front door speaks."""

    # Bare CR or LF in content is how messages are smuggled past a relay; no well-behaved client sends it.
    bare_newline: Literal["reject", "normalise"] = "reject"
    # Waiting before the banner exposes talkers; it costs every honest client that is not known yet the same wait, so it
    # is off unless asked for.
    greet_delay: Duration = 0.0
    # The refusal of a listed client's recipient comes so much later: it costs the sender time, and us a session.
    tarpit: Duration = 0.0
    # RFC 5321 §4.5.3.2.7: a server waits at least 5 minutes for a command.
    command_timeout: Duration = 300.0
    # RFC 5321 §4.5.3.2.5: 3 minutes between two blocks of content.
    data_block_timeout: Duration = 180.0
    # The slowest transfer we wait for, octets a second, averaged after the first data_block_timeout: a 9600 baud line
    # still passes.
    min_rate: Size = 512
    # RFC 5321 §4.5.3.2.6: clients wait 10 minutes for the reply to the final dot; answered well before.
    data_reply_budget: Duration = 120.0
    # Contents beyond this go to a file instead of memory: the 95th percentile of mail is below 128 KiB.
    spill: Size = 256 * 1024
    # Time a TLS handshake may take: three round trips of a bad satellite link and a slow key.
    tls_handshake_timeout: Duration = 30.0


class Limits(Section):
    """``[limits]``: what one client, and all together, may take. 0 switches a limit off."""

    # One descriptor and about 40 KiB a session; the usual descriptor limit of a service is 4096 and more.
    connections: int = Field(default=2000, ge=0)
    # Counted per IPv4 /32 or IPv6 /64, the smallest unit one client holds; large senders open 20 to 30.
    connections_per_client: int = Field(default=50, ge=0)
    connection_rate: RateField = Rate(600, 60.0)
    # The same per IPv4 /24 or IPv6 /48, usually one site: five busy clients' worth.
    network_connection_rate: RateField = Rate(3000, 60.0)
    # What a refused command or recipient costs of both, in connections: a client with 120 in a minute waits.
    failure_cost: int = Field(default=5, ge=0)
    # Sessions of one worker that smtp.tarpit holds back at once; beyond it listed clients are refused at once.
    tarpits: int = Field(default=200, ge=0)
    messages_per_session: int = Field(default=500, ge=0)
    # RFC 5321 §4.5.3.1.8 asks for at least 100.
    recipients_per_message: int = Field(default=1000, ge=100)
    messages_per_client: RateField = Rate(20_000, 3600.0)
    recipients_per_client: RateField = Rate(100_000, 3600.0)
    # Honest clients make an error or two; Postfix's smtpd_hard_error_limit is 20.
    errors_per_session: int = Field(default=20, ge=0)
    # Address harvesting: a mailing list with stale members stays below this.
    unknown_recipients_per_session: int = Field(default=30, ge=0)
    # Mail taken must fit twice: as content and as what is written while it is delivered.
    free_disk_floor: Size = 256 * 1024**2
    # Networks whose rates and connections are not limited: this machine.
    exempt: tuple[Network, ...] = LOOPBACK
    # RFC 5321 §6.3: a loop is likely after many Received fields; "at least 100" is its figure for a naive count,
    # Postfix uses 50.
    received_fields: int = Field(default=50, ge=10)
    # Our own name in that many Received fields is a loop through us; forwarding passes a gateway a few times
    # legitimately.
    own_received_fields: int = Field(default=5, ge=2)


class Dns(Section):
    """``[dns]``."""

    servers: tuple[DnsServer, ...] = ()
    timeout: Duration = 2.0
    # Entries, about 500 octets each.
    cache: int = Field(default=50_000, ge=0)


class Clamd(Section):
    """``[clamd]``: the virus scanners; without an address nothing is scanned."""

    address: Annotated[tuple[ScannerField, ...], BeforeValidator(several)] = ()
    # To a message of no size; each MiB adds a second.
    timeout: Duration = 30.0
    # Of one worker with one scanner: clamd has ten threads (MaxThreads), shared by the workers.
    sessions: int = Field(default=8, ge=1, le=1000)
    # Results remembered for ten minutes, about 300 octets each; 0 remembers none.
    cache: int = Field(default=20_000, ge=0)
    # contract.md §5: signatures are updated at least weekly.
    signatures_old: Duration = 3 * 86_400.0
    signatures_breach: Duration = 7 * 86_400.0

    @model_validator(mode="after")
    def _old_before_breach(self) -> "Clamd":
        if self.signatures_old > self.signatures_breach:
            raise wrong_at(("signatures_old",), "at most signatures_breach is allowed")
        return self


class OwnListings(Section):
    """``[own_listings]``: our sending addresses and the domains of the policies, looked up on lists in the DNS."""

    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    zones: tuple[Domain, ...] = ()
    domain_zones: tuple[Domain, ...] = ()
    # Lists change by the hour, and refuse who asks by the minute.
    every: Duration = Field(default=21_600.0, ge=600.0)


class PerNextHop(Section):
    """``queue.per_next_hop``: connections to one next hop, at the start and at most."""

    start: int = Field(default=5, ge=1)
    most: int = Field(default=20, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> "PerNextHop":
        if self.start > self.most:
            raise wrong_at(("start",), f"at most {self.most} is allowed, the value of most")
        return self


class Queue(Section):
    """``[queue]``."""

    # "1h*4" four times, "4h*" until the mail expires; gateway.config.retry reads it.
    retry: tuple[Wait, ...] = Field(default=("1m", "5m", "15m", "30m", "1h*4", "4h*"), min_length=1)
    # RFC 5321 §4.5.4.1: at least 4 to 5 days.
    expire: Duration = 432_000.0
    delay_notice: Duration = 14_400.0
    per_next_hop: PerNextHop = PerNextHop()
    # RFC 5321 §4.5.3.2: the client's waits, phase by phase.
    connect_timeout: Duration = 30.0
    greeting_timeout: Duration = 300.0
    command_timeout: Duration = 300.0
    data_start_timeout: Duration = 120.0
    data_block_timeout: Duration = 180.0
    data_end_timeout: Duration = 600.0
    # An idle connection is kept this long for the next message to the same next hop.
    idle: Duration = 5.0
    # Messages over one connection before it is closed: next hops limit this, and balance needs fresh connections.
    reuse: int = Field(default=100, ge=1)

    @field_validator("retry", mode="after")
    @classmethod
    def _endless_last(cls, retry: tuple[str, ...]) -> tuple[str, ...]:
        for index, wait in enumerate(retry[:-1]):
            if wait.endswith("*"):
                raise wrong_at(
                    (index,), f'"{wait}" repeats until the mail expires, so only the last wait can be written so'
                )
        return retry


class Rules(Section):
    """``[rules]``: how custom rules are judged; what they say is in the policies."""

    # Answers are the same with it and without. It pays from some dozens of patterns without fixed text on.
    hyperscan: bool = False

    @model_validator(mode="after")
    def _installed(self, info: ValidationInfo) -> "Rules":
        if folder_of(info) is not None and self.hyperscan and not prefilter.is_installed():
            raise wrong_at(
                ("hyperscan",), "needs a library that is not installed: pip install 'tidegate[hyperscan]'; or false"
            )
        return self


class Callout(Section):
    """``[callout]``: how long a next hop's answer about a recipient is believed."""

    positive_ttl: Duration = 86_400.0
    negative_ttl: Duration = 3_600.0
    timeout: Duration = 30.0


class Metrics(Section):
    """``[metrics]``: ``/metrics /healthz /readyz``; an empty address switches them off."""

    address: OptionalEndpoint = ""


class Log(Section):
    """``[log]``: one line a message and a delivery attempt."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Retention(Section):
    """``[retention]``: how long evidence is kept."""

    # Reports are made from the ledger for the past year (contract.md §3: fault-free days a year).
    ledger: Duration = 400 * 86_400.0
    journal: Duration = 90 * 86_400.0
    quarantine: Duration = 30 * 86_400.0


class Backup(Section):
    """``[backup]``: everything saved, and when (contract.md §7); without a folder nothing is."""

    # A disk of its own, or one of another machine: what lies beside the data goes with it.
    folder: OptionalPath = None
    # `tidegate backup key FILE` makes it; without one nothing is encrypted and keys are not saved.
    key: OptionalPath = None
    # contract.md §7: incremental daily, full every three days, kept for one month.
    increment: Duration = Field(default=86_400.0, ge=600.0)
    full: Duration = Field(default=3 * 86_400.0, ge=600.0)
    keep: Duration = Field(default=31 * 86_400.0, ge=600.0)
    # UTC; of no account where increments are less than a day apart.
    at: ClockTime = time(3, 0)
    # From a run's beginning: the night is over then.
    deadline: Duration = Field(default=6 * 3_600.0, ge=1.0)
    # Octets a second that are read at most; 0: as fast as it goes, and not behind the mail. While mail flows it is less
    # (gateway.backup.pace). At 40 MiB 800 GiB fit into the deadline, and a tenth of a core is used.
    rate: Size = 40 * 1024**2
    # How often a restore is tried; 0: only by command.
    drill: Duration = 91 * 86_400.0
    # A program and its arguments, run after each run, to carry the folder elsewhere.
    send: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _ordered(self) -> "Backup":
        if self.full < self.increment:
            raise wrong_at(("full",), "less than increment; a full run would come before every increment")
        if self.keep < self.full:
            raise wrong_at(("keep",), "less than full; what is older than keep goes, and nothing would be left")
        return self


class GatewayConfig(Section):
    """The whole of ``tidegate.toml``; relative paths are already resolved against the file's folder."""

    hostname: Domain
    data: PathField = Path("/var/lib/tidegate")
    policies: PathField = Path("policies")
    blocklists: PathField = Path("blocklists")
    public_suffixes: OptionalPath = None
    workers: int = Field(default=0, ge=0, le=MAX_WORKERS)
    max_message: Size = 50 * 1024**2
    memory_budget: Size = 512 * 1024**2
    contact: Contact = Contact()
    listen: tuple[Listen, ...] = ()
    smtp: Smtp = Smtp()
    limits: Limits = Limits()
    dns: Dns = Dns()
    clamd: Clamd = Clamd()
    own_listings: OwnListings = OwnListings()
    complaints: Complaints = Complaints()
    reporting: Reporting = Reporting()
    service: ServiceLevel = ServiceLevel()
    queue: Queue = Queue()
    callout: Callout = Callout()
    rules: Rules = Rules()
    dmarc_reports: DmarcReports = DmarcReports()
    metrics: Metrics = Metrics()
    log: Log = Log()
    retention: Retention = Retention()
    backup: Backup = Backup()
    incidents: Incidents = Incidents()

    @field_validator("max_message", mode="after")
    @classmethod
    def _whole_messages(cls, octets: int) -> int:
        if octets < MIN_MESSAGE_OCTETS:
            raise ValueError("at least 64K is wanted (RFC 5321 §4.5.3.1.7)")
        return octets

    @field_validator("listen", mode="after")
    @classmethod
    def _one_listener_an_address(cls, listen: tuple[Listen, ...]) -> tuple[Listen, ...]:
        seen: set[str] = set()
        for index, listener in enumerate(listen):
            # Port 0 is "any free port", so two of them are two listeners.
            if listener.address in seen and not listener.address.endswith(":0"):
                raise wrong_at((index, "address"), f'another [[listen]] has "{listener.address}" already')
            seen.add(listener.address)
        return listen

    @model_validator(mode="after")
    def _room_for_a_message(self, info: ValidationInfo) -> "GatewayConfig":
        if folder_of(info) is None:
            return self
        if self.memory_budget < self.max_message:
            raise wrong_at(("memory_budget",), "smaller than max_message, so the largest message could never be taken")
        if not self.listen:
            raise wrong_at(("listen",), "missing; at least one [[listen]] table with an address is wanted")
        return self


def _check_readable(name: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise wrong_at((name,), f"{path} cannot be read: {error.strerror}") from error


def _check_pair(tls: Tls) -> None:
    try:
        # A password would be asked for on the terminal; an empty one makes it an error instead.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise wrong_at(("certificate",), f"OpenSSL cannot use {tls.certificate} with {tls.key}: {error}") from error
