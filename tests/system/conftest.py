"""Gateways and next hops for a test or a whole file; whatever happens, nothing keeps running.

Every gateway is held to one thing at its end: it has met no bug of its own, whatever was done to it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.parts import Gateway, Sink


def _gateways(folders: Callable[[], Path]) -> Iterator[Callable[[], Gateway]]:
    with ExitStack() as stack:

        def make() -> Gateway:
            gateway = Gateway(folders())
            stack.callback(_no_bugs, gateway)
            stack.callback(gateway.destroy)
            return gateway

        yield make


def _no_bugs(gateway: Gateway) -> None:
    log = gateway.log_path.read_text(encoding="utf-8", errors="replace") if gateway.log_path.exists() else ""
    for sign in ("Traceback", "internal_error", "never awaited", "ResourceWarning"):
        assert sign not in log, f"{sign} in the log of {gateway.folder}:\n{log[-5000:]}"


def _sinks() -> Iterator[Callable[..., Sink]]:
    with ExitStack() as stack:

        def make(*options: str) -> Sink:
            sink = Sink(options)
            stack.callback(sink.destroy)
            return sink.start()

        yield make


@pytest.fixture
def new_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Gateway]]:
    """Make a gateway in an empty folder, gone with the test."""
    yield from _gateways(lambda: tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="module")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Gateway]]:
    """Make a gateway in an empty folder, gone with the file's last test."""
    yield from _gateways(lambda: tmp_path_factory.mktemp("gateway"))


@pytest.fixture
def new_sink() -> Iterator[Callable[..., Sink]]:
    """Start an smtp-sink with the given options, gone with the test."""
    yield from _sinks()


@pytest.fixture(scope="module")
def shared_sink() -> Iterator[Callable[..., Sink]]:
    """Start an smtp-sink with the given options, gone with the file's last test."""
    yield from _sinks()
