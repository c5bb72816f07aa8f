"""``tidegate trace``: a message's whole story, also of one that was refused."""

from typing import Annotated

import typer

from gateway.cli.options import ConfigOption, JsonOption, fail, print_json
from gateway.cli.reach import data_folder


def trace(
    what: Annotated[str, typer.Argument(metavar="ID|ADDRESS|MESSAGE-ID", help="A client's IP address works too.")],
    since: Annotated[
        str, typer.Option(metavar="DURATION", help="How far to look back; ids are found however old.")
    ] = "7d",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what happened to mail: connection, envelope, verdict, stamps, every attempt, where each recipient stands."""
    from gateway.admin.story import render
    from gateway.admin.trace import MAX_STORIES
    from gateway.admin.trace import trace as find
    from gateway.clock import SystemClock
    from gateway.config.units import parse_duration

    clock = SystemClock()
    try:
        seconds = parse_duration(since)
    except ValueError as error:
        fail(f"--since {since}: {error}", 2)
    data = data_folder(config)
    traced = find(data, what, clock.stamp().utc - seconds, clock)
    for path, why in traced.unreadable.items():
        typer.echo(f"passed over {path}: {why}", err=True)
    if as_json:
        print_json([story.as_json() for story in traced.stories])
    else:
        typer.echo("\n\n".join(render(story) for story in traced.stories), nl=bool(traced.stories))
    if not traced.stories:
        fail(f"nothing is known of {what} under {data} in the last {since}; --since looks further back")
    if len(traced.stories) >= MAX_STORIES:
        typer.echo(f"the latest {MAX_STORIES}; a shorter --since or an id narrows it", err=True)
