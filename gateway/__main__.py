"""``python -m gateway`` and the ``tidegate`` script."""

from gateway.cli.main import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
