"""``python -m gateway`` and the ``tidegate`` script."""

from setproctitle import getproctitle

from gateway.cli.main import app


def main() -> None:
    """Run the command line."""
    # The first call finds the process's arguments by the place of its environment, which typer moves.
    getproctitle()
    app()


if __name__ == "__main__":
    main()
