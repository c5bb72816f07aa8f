"""``tidegate policy show`` and ``policy list``."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import ConfigOption, JsonOption, fail, load_snapshot, print_json

if TYPE_CHECKING:
    from gateway.config.rule_states import RuleState
    from gateway.smtp.address import Mailbox

app = typer.Typer(no_args_is_help=True, help="Show the policies of domains and mailboxes.")


@app.command()
def show(
    address: Annotated[str, typer.Argument(help="A mailbox, anna@example.com, or a domain.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the merged policy of an address, each key and rule with its file and line; exit 1 when it has none."""
    from gateway.clock import SystemClock
    from gateway.config.flat import policy_table
    from gateway.config.render import key_list, toml_text
    from gateway.config.rule_states import rule_states

    policies = load_snapshot(config).policies
    mailbox = _mailbox(address)
    policy = policies.for_mailbox(mailbox)
    if policy is None:
        fail(f"no policy claims {mailbox.domain}: role mx refuses its mail, role relay sends it on by its MX records")
    table, layered = policy_table(policy), policies.layers_of(mailbox)
    states = tuple(rule_states(policy, layered, SystemClock().stamp().utc))
    if as_json:
        keys = key_list(table, layered.origin, defaults=True)
        rules = [_rule_row(state) for state in states]
        print_json({"address": address, "policy": policy.name, "keys": keys, "rules": rules})
    else:
        typer.echo(f"# {address}: policy {policy.name}")
        typer.echo(toml_text(table, layered.origin, defaults=True), nl=False)
        typer.echo("".join(f"{line}\n" for line in _rule_lines(states)), nl=False)


@app.command("list")
def list_policies(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print each policy with its domains and where their mail goes."""
    snapshot = load_snapshot(config)
    rows = [_row(file.file, file.policy, len(file.mailboxes)) for file in snapshot.policies.files]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        mailboxes = f"  mailboxes with tables of their own: {row['mailboxes']}" if row["mailboxes"] else ""
        typer.echo(f"{row['policy']}  ({row['file']}, customer {row['customer']})")
        typer.echo(f"  domains: {', '.join(row['domains'])}")
        typer.echo(f"  next hop: {', '.join(row['next_hop'])}; recipients: {row['recipients']}{mailboxes}")
    if not rows:
        typer.echo("no policy claims a domain; see policies/README.md")


def _mailbox(text: str) -> "Mailbox":
    from gateway.config.fields import mailbox_or_domain

    try:
        return mailbox_or_domain(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _rule_lines(states: "Sequence[RuleState]") -> Iterator[str]:
    """Yield the rules as comments, so that what is printed stays a policy file."""
    from gateway.admin.lines import printable

    if states:
        yield ""
        yield f"# {len(states)} {'rule' if len(states) == 1 else 'rules'}, in the order in which they are asked:"
    for row in map(_rule_row, states):
        words = [f"# {row['state']:<7}", row["name"], row["action"] or f"{row['score']:+g}"]
        words += ["stop"] if row["stop"] else []
        words += [f"ground {row['ground']}"] if row["ground"] else []
        words += [f"({row['because']})"] if row["because"] else []
        yield printable(f"{' '.join(words)}  {row['file']}:{row['line']}")


def _rule_row(state: "RuleState") -> dict[str, Any]:
    rule = state.rule
    file, _, line = rule.place.rpartition(":")
    return {
        "name": rule.name,
        "state": state.state,
        "because": state.because,
        "layer": state.layer,
        "score": rule.score,
        "action": rule.action.word if rule.action is not None else "",
        "ground": rule.ground.value if rule.ground else "",
        "stop": rule.stop,
        "expires_utc": rule.expires_utc,
        "comment": rule.comment,
        "file": file,
        "line": int(line),
    }


def _row(file: str, policy: Any, mailboxes: int) -> dict[str, Any]:
    from gateway.smtp.domain import display_domain

    return {
        "policy": policy.name,
        "file": file,
        "customer": policy.customer,
        "domains": [display_domain(domain) for domain in policy.domains],
        "next_hop": [hop.url for hop in policy.next_hop],
        "recipients": policy.recipients.mode,
        "mailboxes": mailboxes,
    }
