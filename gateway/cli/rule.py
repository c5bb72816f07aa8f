"""``tidegate rule``: list custom rules, try them on stored mail, see what they did, and edit them in their files."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import rule_trying
from gateway.cli.auditing import put_on_record
from gateway.cli.options import (
    EXIT_CONFIG,
    ConfigOption,
    JsonOption,
    config_path,
    fail,
    load_snapshot,
    print_json,
    print_problems,
)
from gateway.cli.reach import data_folder
from gateway.cli.rule_trying import ForOption, Name, layers_for, switched_off

if TYPE_CHECKING:
    from gateway.admin.rule_edit import RuleChange, RuleEditor
    from gateway.policy.rule import Rule

app = typer.Typer(no_args_is_help=True, help="Try custom rules on stored mail, see what they did, and edit them.")

_USAGE = 2

WhereOption = Annotated[
    str,
    typer.Option(
        "--for", metavar="WHERE", help="Only for this domain, mailbox or policy file, which inherits the rule."
    ),
]
ReloadOption = Annotated[bool, typer.Option("--reload", help="Put it into force at once.")]

app.command("test")(rule_trying.try_rule)
app.command()(rule_trying.stats)


@app.command("list")
def list_rules(whose: ForOption = "", config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print each rule with its place, what it does, and whether it counts."""
    from gateway.cli.table import print_table
    from gateway.clock import SystemClock

    snapshot = load_snapshot(config)
    now, off = SystemClock().stamp().utc, switched_off(snapshot, whose)
    rows = [
        {
            "name": rule.name,
            "source": layer.source,
            "place": rule.place,
            "does": _does(rule),
            "state": _state(rule, now, off),
            "ground": rule.ground.value if rule.ground else "",
            "comment": rule.comment,
        }
        for layer in layers_for(snapshot, whose)
        for rule in layer.rules
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(("name", "place", "does", "state", "ground", "comment"), [_shown(row) for row in rows])
    if not rows:
        fail("there are no rules; policies/README.md shows how to write one")


@app.command()
def add(
    name: Name,
    *,
    where: Annotated[
        str, typer.Option("--in", metavar="WHERE", help='"default", a policy file, a domain or a mailbox.')
    ],
    when: Annotated[str, typer.Option(metavar="TOML", help='The condition: subject = { contains = "invoice" }')],
    score: Annotated[float | None, typer.Option(help="Added to the message's score.")] = None,
    action: Annotated[str, typer.Option(help="accept, tag, quarantine, defer, reject or discard.")] = "",
    reply: Annotated[str, typer.Option(help="What a refusal says.")] = "",
    ground: Annotated[str, typer.Option(help="advertising, no-opt-out, hidden-sender, false-source or harmful.")] = "",
    unauthenticated: Annotated[
        bool, typer.Option("--unauthenticated", help="Let an allow rule trust an author that nobody vouches for.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Rules behind it do not count when it fires.")] = False,
    expires: Annotated[
        datetime | None, typer.Option(help="When it ends to count.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])
    ] = None,
    comment: Annotated[str, typer.Option(help="For those who come after.")] = "",
    reload: ReloadOption = False,
    config: ConfigOption = None,
) -> None:
    """Put a rule at the end of a policy file, keeping everything else of it."""
    given: dict[str, Any] = {
        "score": score,
        "action": action,
        "reply": reply,
        "ground": ground,
        "stop": stop or None,
        "unauthenticated": unauthenticated or None,
        "expires": expires and expires.replace(tzinfo=UTC),
        "comment": comment,
    }
    keys = {key: value for key, value in given.items() if value not in ("", None)}
    _edit(lambda editor: editor.add(name, where, keys, when), config, reload=reload)


@app.command()
def enable(name: Name, where: WhereOption = "", reload: ReloadOption = False, config: ConfigOption = None) -> None:
    """Let a rule count again, for everybody or for those who had switched it off."""
    _edit(lambda editor: editor.enable(name, where), config, reload=reload)


@app.command()
def disable(name: Name, where: WhereOption = "", reload: ReloadOption = False, config: ConfigOption = None) -> None:
    """Let a rule count no more, for everybody or for one domain or mailbox."""
    _edit(lambda editor: editor.disable(name, where), config, reload=reload)


@app.command("edit-score")
def edit_score(
    name: Name,
    score: Annotated[float, typer.Argument(help="What it adds from now on.")],
    reload: ReloadOption = False,
    config: ConfigOption = None,
) -> None:
    """Give a rule another score."""
    _edit(lambda editor: editor.edit_score(name, score), config, reload=reload)


# Editing --------------------------------------------------------------------------------------------------------------


def _edit(change: Callable[["RuleEditor"], "RuleChange"], config: Path | None, *, reload: bool) -> None:
    from gateway.admin.protocol import RefusedError
    from gateway.admin.rule_edit import RuleEditor
    from gateway.config.problem import ConfigError
    from gateway.filters import catalogue

    path = config_path(config)
    if path is None:
        fail("the embedded default has no files to edit; `tidegate init DIR` writes some", _USAGE)
    try:
        done = change(RuleEditor(path, catalogue()))
    except RefusedError as error:
        fail(str(error))
    except ConfigError as error:
        print_problems(error)
        fail("nothing was changed", EXIT_CONFIG)
    except OSError as error:
        fail(f"{error.filename or path}: cannot be written: {error.strerror}; nothing was changed")
    for line in done.changes or (f"{done.file}: no policy inherits what was changed",):
        typer.echo(line)
    put_on_record(data_folder(config), f"rule {done.operation}", done.name, done.changes)
    if reload:
        from gateway.cli.reload import reload as reload_command

        reload_command(config=config)
    else:
        typer.echo("`tidegate reload` puts it into force")


# Showing --------------------------------------------------------------------------------------------------------------


def _does(rule: "Rule") -> str:
    return (rule.action.word if rule.action is not None else f"{rule.score:+g}") + (", stop" if rule.stop else "")


def _state(rule: "Rule", now: float, off: frozenset[str]) -> str:
    if not rule.enabled:
        return "disabled"
    if rule.name in off:
        return "off"
    return "expired" if rule.expires_utc is not None and rule.expires_utc <= now else "on"


def _shown(row: dict[str, str]) -> tuple[str, ...]:
    return row["name"], row["place"], row["does"], row["state"], row["ground"] or "-", row["comment"] or "-"
