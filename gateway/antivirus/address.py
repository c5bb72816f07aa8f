"""Where a clamd listens: ``unix:/run/clamav/clamd.ctl`` or ``host:3310`` (configuration.md, ``[clamd]``)."""

from dataclasses import dataclass
from typing import Self

# clamd's customary TCP port.
DEFAULT_PORT = 3310


@dataclass(frozen=True, slots=True)
class ScannerAddress:
    """A unix socket's ``path``, or a ``host`` (name or address) and ``port``; ``str()`` is what was configured."""

    path: str = ""
    host: str = ""
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address; ValueError says what is allowed."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if path.startswith("/") and "\0" not in path:
                return cls(path=path)
        else:
            host, colon, port = text.rpartition(":")
            host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
            bare = ":" not in host or text.startswith("[")
            if colon and host and bare and port.isascii() and port.isdigit() and 0 < int(port) < 65536:  # noqa: PLR2004
                return cls(host=host, port=int(port))
        raise ValueError('a scanner\'s address such as "unix:/run/clamav/clamd.ctl" or "127.0.0.1:3310" is wanted')

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
