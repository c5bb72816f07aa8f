"""``tidegate reload``: make the gateway read its configuration again, and say what changed or why nothing did."""

import typer

from gateway.cli.options import ConfigOption, JsonOption, print_json
from gateway.cli.reach import call, data_folder, give_up

# sysexits.h EX_CONFIG
_EXIT_CONFIG = 78


def reload(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Reload; exit 0 when the new configuration serves, 78 when it was refused and the old one goes on serving."""
    from gateway.admin.protocol import Done

    data = data_folder(config)
    outcome = call(data, "reload", {})
    if not isinstance(outcome, Done):
        give_up(data, outcome)
    result = outcome.result
    if as_json:
        print_json(result)
    else:
        for line in result["changed"]:
            typer.echo(line)
        for line in result["errors"]:
            typer.echo(line, err=True)
        typer.echo(_verdict(result["digest"], result["changed"], result["errors"]), err=bool(result["errors"]))
    if result["errors"]:
        raise typer.Exit(_EXIT_CONFIG)


def _verdict(digest: str, changed: list[str], errors: list[str]) -> str:
    if errors and not changed:
        return f"refused: the configuration {digest} goes on serving"
    if not changed:
        return f"nothing changed: {digest} serves"
    return f"{digest} serves" + ("; but see above" if errors else "")
