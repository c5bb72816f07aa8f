"""Whose network a source lies in: a table in a file, ``network,asn,name`` a line. The network is never asked.

    192.0.2.0/24,64500,Example Networks
    2001:db8::/32,AS64501,"Example, Inc."

Such tables are published (a routing table with names); without one the columns stay empty. The longest prefix wins. The
file is read again when it has changed; one that has a bad line leaves what was read before in force, and says which.
"""

import csv
from ipaddress import ip_address, ip_network
from pathlib import Path

from gateway.incidents.values import printable

# The world's routing table has about 1.3 million prefixes.
MAX_LINES = 3_000_000
_MAX_ASN = 2**32 - 1

_Table = dict[int, list[tuple[int, dict[int, tuple[int, str]]]]]


class NetworkTableError(ValueError):
    """A line that is none: ``file:line: what is wrong``."""


def read_networks(path: Path) -> _Table:
    """Return the table of a file, by IP version and prefix length, the longest first; NetworkTableError, OSError."""
    found: dict[int, dict[int, dict[int, tuple[int, str]]]] = {4: {}, 6: {}}
    names: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        try:
            for row in lines:
                if not row or row[0].startswith("#") or (lines.line_num == 1 and row[0] == "network"):
                    continue
                _check_count(lines.line_num)
                _enter(found, names, row)
        except (ValueError, csv.Error) as error:
            raise NetworkTableError(f"{path}:{lines.line_num}: {error}") from error
    return {version: sorted(table.items(), reverse=True) for version, table in found.items()}


def _check_count(lines: int) -> None:
    if lines > MAX_LINES:
        raise ValueError(f"more than {MAX_LINES} lines")


def _enter(found: dict[int, dict[int, dict[int, tuple[int, str]]]], names: dict[str, str], row: list[str]) -> None:
    if len(row) < 2:  # noqa: PLR2004 - network, asn
        raise ValueError("network,asn,name is wanted")
    network = ip_network(row[0].strip())
    asn = int(row[1].strip().upper().removeprefix("AS"))
    if not 0 <= asn <= _MAX_ASN:
        raise ValueError(f"{asn} is no AS number")
    name = printable(row[2].strip()) if len(row) > 2 else ""  # noqa: PLR2004 - the third column
    shift = network.max_prefixlen - network.prefixlen
    table = found[network.version].setdefault(network.prefixlen, {})
    table[int(network.network_address) >> shift] = asn, names.setdefault(name, name)


class Networks:
    """Answers for source keys, such as ``192.0.2.7/32``; what is no address has no network.

    ``problem`` is "" or why the file could not be read.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._table: _Table = {4: [], 6: []}
        self._read: tuple[int, int] | None = None
        self.problem = ""

    def __call__(self, key: str) -> tuple[int, str] | None:
        """Return AS number and name of the network that a source lies in, None when not known."""
        self._refresh()
        try:
            address = ip_address(key.partition("/")[0])
        except ValueError:
            return None
        value, bits = int(address), address.max_prefixlen
        for length, networks in self._table[address.version]:
            found = networks.get(value >> (bits - length))
            if found is not None:
                return found
        return None

    def _refresh(self) -> None:
        if self.path is None:
            return
        try:
            status = self.path.stat()
            now = (status.st_mtime_ns, status.st_size)
            if now != self._read:
                self._read = now
                self._table, self.problem = read_networks(self.path), ""
        except (OSError, NetworkTableError) as error:
            self.problem = str(error)
