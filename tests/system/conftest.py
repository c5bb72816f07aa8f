"""Gateways and next hops for a test or a whole file; whatever happens, nothing keeps running."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.parts import Gateway, Sink


def _gateways(folders: Callable[[], Path]) -> Iterator[Callable[[], Gateway]]:
    with ExitStack() as stack:

        def make() -> Gateway:
            gateway = Gateway(folders())
            stack.callback(gateway.destroy)
            return gateway

        yield make


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


@pytest.fixture(autouse=True)
def _no_bugs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold after every test: no gateway of it has met a bug of its own."""
    yield
    for name in ("gateway", "house"):
        if name in request.fixturenames:
            log = request.getfixturevalue(name).log_path.read_text(encoding="utf-8", errors="replace")
            assert "Traceback" not in log, log[-5000:]
            assert "internal_error" not in log, log[-5000:]
