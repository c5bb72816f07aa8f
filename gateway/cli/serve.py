"""``tidegate serve``: run the gateway until it is told to stop."""

import typer

from gateway.cli.options import ConfigOption


def serve(config: ConfigOption = None) -> None:
    """Run the gateway in the foreground; SIGTERM drains it, SIGHUP reloads the configuration."""
    from gateway.app.supervisor import run
    from gateway.cli.options import config_path, load_snapshot

    raise typer.Exit(run(load_snapshot(config), config_path(config)))
