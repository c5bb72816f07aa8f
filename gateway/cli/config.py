"""``tidegate config check`` and ``config show``."""

from typing import Annotated

import typer

from gateway.cli.options import (
    EXIT_CONFIG,
    ConfigOption,
    JsonOption,
    load_snapshot,
    print_json,
    print_problems,
    try_snapshot,
)

app = typer.Typer(no_args_is_help=True, help="Check and show the configuration.")


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Read every file of the configuration, the lists' declarations too; print all errors and exit 78, or say ok."""
    from gateway.blocklist.local.declaration import read_declarations
    from gateway.config.problem import ConfigError

    try:
        snapshot = try_snapshot(config)
        declarations = read_declarations(snapshot.config.blocklists)
    except ConfigError as error:
        if as_json:
            problems = [{"file": p.file, "line": p.line, "key": p.key, "text": p.text} for p in error.problems]
            print_json({"ok": False, "problems": problems})
        else:
            print_problems(error)
        raise typer.Exit(EXIT_CONFIG) from None
    name = str(snapshot.path or "embedded default")
    domains, rules = len(snapshot.policies.domains), snapshot.policies.rule_count
    if as_json:
        found = {"ok": True, "file": name, "domains": domains, "rules": rules}
        print_json({**found, "digest": snapshot.digest, "problems": []})
    else:
        counted = f"{domains} {'domain' if domains == 1 else 'domains'}"
        counted += f", {rules} {'rule' if rules == 1 else 'rules'}" if rules else ""
        typer.echo(f"ok: {name}, {counted}, digest {snapshot.digest}")
    for undeclared in declarations.undeclared:
        typer.echo(
            f"{snapshot.config.blocklists / undeclared}: used for nothing: no declaration says what it is", err=True
        )


@app.command()
def show(
    config: ConfigOption = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Show the built-in values of all other keys too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print tidegate.toml as it is understood, each key with the file and line it comes from."""
    from gateway.config.flat import config_table
    from gateway.config.render import key_list, toml_text

    snapshot = load_snapshot(config)
    table = config_table(snapshot.config)
    if as_json:
        keys = key_list(table, snapshot.layered.origin, defaults=defaults)
        print_json({"digest": snapshot.digest, "keys": keys})
    else:
        typer.echo(toml_text(table, snapshot.layered.origin, defaults=defaults), nl=False)
