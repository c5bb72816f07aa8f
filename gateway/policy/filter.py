"""The filter interface: one file, one question (architecture.md, "Add a filter in one file")."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

from gateway.clock import Clock
from gateway.dns.resolver import Resolver
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.finding import Finding, Findings
from gateway.smtp.replies import POLICY_DEFER, POLICY_REJECT
from gateway.smtp.reply import Reply


@dataclass(frozen=True, slots=True)
class NoOptions:
    """For filters without settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLimits:
    """``received_fields`` and ``own_received_fields`` of ``[limits]`` (RFC 5321 §6.3): the node's, no filter's."""

    received_fields: int = 50
    own_received_fields: int = 5


S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a filter may ask of the world; handed in, so that tests hand in fakes.

    ``services`` are rooms between this one and the filters (memories shared by the workers, lists, scanners), each by
    its type.
    """

    clock: Clock
    resolver: Resolver
    hostname: str
    loop_limits: LoopLimits = LoopLimits()
    services: Mapping[type[Any], Any] = field(default_factory=lambda: MappingProxyType({}))

    def service(self, kind: type[S]) -> S | None:
        """Return the service of a type, None where this gateway (or ``explain``) has none."""
        found: S | None = self.services.get(kind)
        return found


O = TypeVar("O")  # noqa: E741 - reads as "options" in every filter


class Filter(ABC, Generic[O]):
    """One question about a transaction.

    ``results`` maps each result word the filter may give to its meaning; ``on`` maps result words to the shipped
    score (float) or Action; ``grounds`` to the contract's ground. ``Options`` is a frozen dataclass; its fields, with
    defaults, are the keys an administrator may set. A filter never raises to refuse; an exception is its temperror.
    Instances are shared by all transactions and hold no per-mail state.

    ``enabled`` is what holds where no policy says it; ``is_idle`` tells that an instance's options leave it nothing to
    ask, so that a plan can leave it out.

    ``stage`` is the earliest at which it is asked. ``io`` marks a filter that waits for something (DNS, a scanner):
    it is asked once for its stage, last and together with the others that wait, within the time budget. One that does
    not wait is called directly, and again at every later stage with what is known by then; its last word counts.
    ``per_recipient`` marks an ENVELOPE filter whose answer depends on the recipient; every other filter is asked once
    for all of a message's recipients. ``reject`` and ``defer`` are the replies that fit the question.
    """

    stage: ClassVar[Stage]
    io: ClassVar[bool] = False
    per_recipient: ClassVar[bool] = False
    enabled: ClassVar[bool] = True
    results: ClassVar[Mapping[str, str]]
    on: ClassVar[Mapping[str, float | Action]] = {}
    grounds: ClassVar[Mapping[str, Ground]] = {}
    Options: ClassVar[type] = NoOptions
    reject: ClassVar[Reply] = POLICY_REJECT
    defer: ClassVar[Reply] = POLICY_DEFER
    name: ClassVar[str] = ""

    def __init__(self, options: O) -> None:
        self.options = options

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__module__.rpartition(".")[2].replace("_", "-")

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to ask with these options."""
        return False

    def concerns(self, tx: Transaction) -> bool:  # noqa: ARG002 - for those that know
        """Whether ``examine`` has anything to ask about this mail; spares those that wait a task.

        ``examine`` holds to it by itself: who calls it need not ask first.
        """
        return True

    def rests(self, ctx: Context) -> bool:  # noqa: ARG002 - for those that know
        """Whether there is nothing to ask about any mail for now (empty lists, no scanner); spares a task as well."""
        return False

    @property
    def reactions(self) -> Mapping[str, float | Action | None]:
        """What the options make of some results, whatever the policy's ``on`` says of them (None: ignore)."""
        return {}

    @abstractmethod
    async def examine(self, tx: Transaction, ctx: Context) -> Findings:
        """Return what was found, several findings as a tuple (listings, for example); None for nothing to say."""

    def found(self, result: str, reason: str = "", **detail: str) -> Finding:
        """Return a Finding in this filter's name."""
        return Finding(self.name, result, reason, tuple(detail.items()))
