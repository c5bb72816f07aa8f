"""``tidegate rule test`` and ``rule stats``: rules tried on stored mail, and what they did in the mail that passed."""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, load_snapshot, print_json

if TYPE_CHECKING:
    from gateway.admin.rule_trial import Tally, Tried
    from gateway.admin.stored_mail import StoredMail
    from gateway.config.snapshot import Snapshot
    from gateway.policy.rule import RuleLayer
    from gateway.rules.story import RuleStory

_USAGE = 2
# As many rows as a person reads; --json has them all.
_MOST_OVERLAPS = 20

Name = Annotated[str, typer.Argument(help="The rule's name.")]
Paths = Annotated[list[Path], typer.Argument(help="Messages, folders of them, Maildirs or mbox files.", exists=True)]
ForOption = Annotated[
    str, typer.Option("--for", metavar="ADDRESS", help="The rules that hold for this mailbox or domain; else all.")
]


def try_rule(
    name: Name,
    paths: Paths,
    explain: Annotated[bool, typer.Option("--explain", help="Tell of each message why the rule did or not.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell on which of these messages a rule would fire, and how long it takes; exit 1 when on none."""
    from gateway.admin.rule_trial import Tally, Trial, layers_of, only
    from gateway.clock import SystemClock

    snapshot = load_snapshot(config)
    layers = only(layers_of(snapshot.policies), frozenset({name}))
    if not layers:
        fail(f'no rule is called "{name}"; `tidegate rule list` has them all')
    trial = Trial(layers, snapshot.config.hostname, SystemClock())
    tally, hits = Tally(), []
    for mail in _messages(paths):
        tried = trial.judge(mail)
        tally.add(tried)
        if explain and not as_json:
            _print_story(mail.name, trial.explain(mail))
        elif tried.fired:
            hits.append(_hit(tried))
            if not as_json:
                _print_hit(tried)
    if as_json:
        print_json({"rule": name, "fired": hits, **_totals(tally)})
    else:
        typer.echo(f"fired on {tally.fired[name]} of {_summary(tally)}")
    if not tally.fired[name]:
        raise typer.Exit(EXIT_NEGATIVE)


def stats(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Try on these messages; else what the journal tells.", exists=True)
    ] = None,
    since: Annotated[str, typer.Option(metavar="DURATION", help="How far the journal is looked back in.")] = "30d",
    whose: ForOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how often each rule fired, which never did and, on stored mail, how long they take and which overlap."""
    snapshot = load_snapshot(config)
    layers = layers_for(snapshot, whose)
    if not layers:
        fail("there are no rules; policies/README.md shows how to write one")
    if paths:
        _stats_of_mail(snapshot, layers, paths, as_json=as_json)
    else:
        _stats_of_journal(snapshot, layers, since, as_json=as_json)


def _messages(paths: Sequence[Path]) -> Iterator["StoredMail"]:
    """Yield every message, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    from gateway.admin.stored_mail import open_store

    stores = []
    for path in paths:
        try:
            stores.append(open_store(path))
        except OSError as error:
            fail(f"{path}: cannot be read: {error.strerror}")
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task("messages", total=sum(store.count for store in stores))
        for store in stores:
            for mail in store.messages():
                yield mail
                bar.advance(task)


def _hit(tried: "Tried") -> dict[str, Any]:
    return {
        "message": tried.mail,
        "seconds": tried.seconds,
        "evidence": [
            {"subject": found.subject, "text": found.text, "place": found.place}
            for fired in tried.fired
            for found in fired.evidence
        ],
    }


def _print_hit(tried: "Tried") -> None:
    from gateway.admin.lines import printable

    evidence = ", ".join(
        f'{found.subject} "{found.text}"' + (f" ({found.place})" if found.place else "")
        for fired in tried.fired
        for found in fired.evidence
    )
    typer.echo(f"{printable(tried.mail)}\t{tried.seconds * 1000:.2f} ms\t{printable(evidence)}")


def _print_story(mail: str, stories: "Sequence[RuleStory]") -> None:
    from gateway.admin.lines import printable
    from gateway.cli.explain_rules import lines_of
    from gateway.pipeline.explain_rules import ALL, told

    typer.echo(printable(mail))
    for rule in told(stories, ALL).rules:
        for line in lines_of(rule):
            typer.echo(f"  {line}")


def _totals(tally: "Tally") -> dict[str, Any]:
    return {
        "messages": tally.messages,
        "mean_seconds": tally.seconds / tally.messages if tally.messages else 0.0,
        "slowest_seconds": tally.slowest_seconds,
        "slowest": tally.slowest,
        "judged_in_part": tally.partly,
    }


def _summary(tally: "Tally") -> str:
    totals = _totals(tally)
    text = f"{tally.messages} message{'' if tally.messages == 1 else 's'}, {totals['mean_seconds'] * 1000:.2f} ms each"
    if tally.messages > 1:
        text += f", at most {tally.slowest_seconds * 1000:.2f} ms ({tally.slowest})"
    return text + (f"; {tally.partly} were judged in part only" if tally.partly else "")


def _stats_of_mail(snapshot: "Snapshot", layers: Sequence["RuleLayer"], paths: list[Path], *, as_json: bool) -> None:
    from gateway.admin.rule_trial import Tally, Trial
    from gateway.cli.table import print_table
    from gateway.clock import SystemClock

    trial = Trial(layers, snapshot.config.hostname, SystemClock())
    tally = Tally()
    for mail in _messages(paths):
        tally.add(trial.judge(mail))
    rules = [rule for layer in layers for rule in layer.rules]
    never = [rule.name for rule in rules if not tally.fired[rule.name]]
    overlaps = tally.overlaps()
    if as_json:
        named = [{"rule": one, "with": other, "messages": n, "share": share} for one, other, n, share in overlaps]
        fired = {rule.name: tally.fired[rule.name] for rule in rules}
        print_json({"fired": fired, "never": never, "overlaps": named, **_totals(tally)})
        return
    print_table(
        ("rule", "place", "fired"),
        [(rule.name, rule.place, str(tally.fired[rule.name])) for rule in rules if tally.fired[rule.name]],
    )
    for one, other, both, share in overlaps[:_MOST_OVERLAPS]:
        typer.echo(f"{one} fires with {other} on {both} of its {tally.fired[one]} messages ({share:.0%})")
    if len(overlaps) > _MOST_OVERLAPS:
        typer.echo(f"{len(overlaps) - _MOST_OVERLAPS} more pairs overlap; --json has them all")
    typer.echo(f"never fired: {', '.join(never) or 'none'}")
    typer.echo(f"{len(rules)} rules on {_summary(tally)}")


def _stats_of_journal(snapshot: "Snapshot", layers: Sequence["RuleLayer"], since: str, *, as_json: bool) -> None:
    from gateway.admin.rule_trial import usage
    from gateway.cli.table import print_table
    from gateway.clock import SystemClock
    from gateway.config.units import parse_duration

    try:
        begin = SystemClock().stamp().utc - parse_duration(since)
    except ValueError as error:
        fail(f"--since {since}: {error}", _USAGE)
    found = list(usage(snapshot.config.data, layers, begin))
    if as_json:
        print_json(
            [
                {"rule": used.rule.name, "place": used.rule.place, "messages": used.messages, "last_at": used.last_at}
                for used in found
            ]
        )
        return
    print_table(
        ("rule", "place", "messages", "last"),
        [(u.rule.name, u.rule.place, str(u.messages), _when(u.last_at)) for u in found if u.messages],
    )
    never = [used.rule.name for used in found if not used.messages]
    typer.echo(f"never fired in the last {since}: {', '.join(never) or 'none'}")


def layers_for(snapshot: "Snapshot", whose: str) -> "tuple[RuleLayer, ...]":
    """Return the layers of rules that hold for an address, "" for all there are."""
    from gateway.admin.rule_trial import layers_of

    if not whose:
        return layers_of(snapshot.policies)
    return _policy(snapshot, whose).rules  # type: ignore[no-any-return]


def switched_off(snapshot: "Snapshot", whose: str) -> frozenset[str]:
    """Return the names that an address has switched off."""
    return _policy(snapshot, whose).rules_off if whose else frozenset()


def _policy(snapshot: "Snapshot", whose: str) -> Any:
    from gateway.config.fields import mailbox_or_domain

    try:
        asked = mailbox_or_domain(whose)
    except ValueError as error:
        fail(f"--for {whose}: {error}", _USAGE)
    policy = snapshot.policies.for_mailbox(asked)
    if policy is None:
        fail(f"no policy claims {asked.domain}; `tidegate policy list` has them all")
    return policy


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}Z" if at else "-"
