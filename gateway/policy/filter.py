"""The filter interface: one file, one question (architecture.md, "Add a filter in one file")."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from gateway.clock import Clock
from gateway.dns.resolver import Resolver
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.finding import Finding


@dataclass(frozen=True, slots=True)
class NoOptions:
    """For filters without settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a filter may ask of the world; handed in, so that tests hand in fakes."""

    clock: Clock
    resolver: Resolver
    hostname: str


O = TypeVar("O")  # noqa: E741 - reads as "options" in every filter


class Filter(ABC, Generic[O]):
    """One question about a transaction.

    ``results`` maps each result word the filter may give to its meaning; ``on`` maps result words to the shipped score (float) or Action;
    ``grounds`` to the contract's ground. ``Options`` is a frozen dataclass; its fields, with defaults, are the keys an administrator may set.
    A filter never raises to refuse; an exception is its temperror. Instances are shared by all transactions and hold no per-mail state.
    """

    stage: ClassVar[Stage]
    results: ClassVar[Mapping[str, str]]
    on: ClassVar[Mapping[str, float | Action]] = {}
    grounds: ClassVar[Mapping[str, Ground]] = {}
    Options: ClassVar[type] = NoOptions
    # Replies wear the enhanced status that fits the question; default 550 5.7.1 and 451 4.7.1 (style.md, conventions).
    reject_status: ClassVar[tuple[int, int]] = (7, 1)
    name: ClassVar[str] = ""

    def __init__(self, options: O) -> None:
        self.options = options

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__module__.rpartition(".")[2].replace("_", "-")

    @abstractmethod
    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return what was found, or None when there is nothing to say."""

    def found(self, result: str, reason: str = "", **detail: str) -> Finding:
        """Return a Finding in this filter's name."""
        return Finding(self.name, result, reason, tuple(detail.items()))
