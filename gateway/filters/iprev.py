"""Does the client's address have a name, and the name that address? See RFC 8601 §3.

Mail servers' addresses have names that lead back to them; addresses of infected home computers often have none.
*permerror*: the address has no name at all (RFC 8601 §2.7.3). Off unless a policy sets ``enabled = true``: it asks
DNS about every connection. Asked for mail from outside only.
"""

from collections.abc import Mapping
from typing import ClassVar

from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter, NoOptions
from gateway.policy.finding import Finding
from gateway.senderauth.earlier import earlier
from gateway.senderauth.iprev import check_iprev
from gateway.senderauth.message import is_from_outside
from gateway.smtp.replies import IPREV_DEFER, IPREV_REJECT


class Iprev(Filter[NoOptions]):
    """Asks for PTR, and for the addresses of ten names at most."""

    stage = Stage.CONNECT
    io = True
    enabled = False
    results: ClassVar[Mapping[str, str]] = {
        "pass": "a name of the client has its address",
        "fail": "the client has names, and none has its address",
        "permerror": "the client has no name",
    }
    on: ClassVar[Mapping[str, float | Action]] = {"fail": 1.0, "permerror": 1.5}
    reject = IPREV_REJECT
    defer = IPREV_DEFER

    def concerns(self, tx: Transaction) -> bool:
        """Whether the mail comes from outside."""
        return is_from_outside(tx)

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return whether reverse and forward tree agree."""
        if not self.concerns(tx):
            return None
        result = await check_iprev(ctx.resolver, tx.connection.client_address)
        earlier(ctx.resolver).keep(tx, result)
        return self.found(result.result.value, result.reason, **({"name": result.name} if result.name else {}))
