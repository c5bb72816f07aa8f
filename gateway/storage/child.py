"""The writer process: reads groups from its socket, commits them, answers; ends when the other side closes.

Started by ``gateway.storage.process`` with the descriptor of its socket, the file and the synchronous mode. It inherits
the descriptor of the store's lock and keeps it open for its life. It ignores the signals that ask to stop: the end of
the socket is what says that nobody will submit any more, and then everything received is committed.
"""

import signal
import socket
import sys
from pathlib import Path
from typing import Any, cast

from gateway.storage.committer import Committer
from gateway.storage.connection import Synchronous, connect_writer
from gateway.storage.errors import StorageError
from gateway.storage.frames import Unpacker, pack, pack_error
from gateway.storage.statement import Statement

_READ_OCTETS = 1024 * 1024


class Child:
    """One store's writer."""

    def __init__(self, sock: socket.socket, path: Path, synchronous: Synchronous) -> None:
        self._socket, self._path, self._synchronous = sock, path, synchronous
        self._statements: dict[int, Statement] = {}
        self._committer: Committer | None = None

    def run(self) -> None:
        """Serve until the other side closes."""
        unpacker = Unpacker()
        while True:
            try:
                self._socket.settimeout(self._committer.patience_seconds if self._committer else None)
                octets = self._socket.recv(_READ_OCTETS)
            except TimeoutError:
                if self._committer is not None:
                    self._committer.idle()
                continue
            if not octets:
                break
            self._socket.settimeout(None)
            for fresh, submissions, mark in unpacker.feed(octets):
                self._learn(fresh)
                self._answer("outcomes", [pack_error(error) for error in self._commit(submissions, mark)])
                if self._committer is not None:
                    self._committer.keep_up()
        if self._committer is not None:
            self._committer.close()

    def _learn(self, fresh: list[tuple[int, str, int, int]]) -> None:
        for number, sql, phase, columns in fresh:
            self._statements[number] = Statement(sql, phase, columns=columns)

    def _commit(self, submissions: list[Any], mark: int) -> list[StorageError | None]:
        try:
            committer = self._opened()
        except StorageError as error:
            return [error] * len(submissions)
        known = self._statements
        return committer.commit([[(known[number], row) for number, row in writes] for writes in submissions], mark)

    def _opened(self) -> Committer:
        """Return the committer; a file that could not be opened is tried again with the next group."""
        if self._committer is None:
            connection = connect_writer(self._path, self._synchronous)
            self._committer = Committer(
                connection, self._path, lambda error: self._answer("trouble", pack_error(error))
            )
        return self._committer

    def _answer(self, kind: str, value: Any) -> None:
        try:
            self._socket.sendall(pack((kind, value)))
        except OSError:
            # Nobody listens any more; what was received is still committed.
            return


def main() -> None:
    """Run from the command line: descriptor, file, synchronous mode."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    descriptor, path, synchronous = sys.argv[1:4]
    sock = socket.socket(fileno=int(descriptor))
    try:
        Child(sock, Path(path), cast("Synchronous", synchronous)).run()
    except ConnectionError:
        # The other side was killed with answers of ours unread.
        return


if __name__ == "__main__":
    main()
