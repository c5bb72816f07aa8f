"""What was found before the final dot, for those who ask after it.

SPF is asked at RCPT and iprev at CONNECT, when there is no message yet to keep a result with; DMARC and
``Authentication-Results`` need it later. Results are kept a while for each resolver, by session and client, SPF's by
HELO and reverse-path too; the oldest go first. Whoever finds nothing evaluates anew.
"""

from collections import OrderedDict
from weakref import WeakKeyDictionary

from gateway.dns.resolver import Resolver
from gateway.mail.transaction import Transaction
from gateway.senderauth.iprev import IprevResult
from gateway.senderauth.spf.result import SpfResult

# Sessions under way in one worker are fewer; a result has some 500 octets.
_MOST = 4096

_Key = tuple[str, ...]
_Kept = SpfResult | IprevResult


class Earlier:
    """The memory of one resolver's answers."""

    def __init__(self) -> None:
        self._results: OrderedDict[_Key, _Kept] = OrderedDict()

    def keep(self, tx: Transaction, result: _Kept) -> None:
        """Remember a result of this transaction's session."""
        self._results[_key(tx, _name(result))] = result
        if len(self._results) > _MOST:
            self._results.popitem(last=False)

    def of(self, tx: Transaction) -> dict[str, object]:
        """Return what is remembered, by method: "spf", "spf_helo", "iprev"."""
        found = {name: self._results.get(_key(tx, name)) for name in ("spf", "spf_helo", "iprev")}
        return {name: result for name, result in found.items() if result is not None}


_MEMORIES: WeakKeyDictionary[Resolver, Earlier] = WeakKeyDictionary()


def earlier(resolver: Resolver) -> Earlier:
    """Return the memory of what ``resolver`` was asked for."""
    memory = _MEMORIES.get(resolver)
    if memory is None:
        memory = _MEMORIES[resolver] = Earlier()
    return memory


def _name(result: _Kept) -> str:
    if isinstance(result, IprevResult):
        return "iprev"
    return "spf" if result.identity == "mailfrom" else "spf_helo"


def _key(tx: Transaction, name: str) -> _Key:
    connection = tx.connection
    client = connection.client
    if name == "iprev":
        return name, connection.session_id, client
    return name, connection.session_id, client, connection.helo, tx.envelope.reverse_path.key
