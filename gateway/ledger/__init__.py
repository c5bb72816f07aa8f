"""How long it took: the contract's stamps per recipient (contract.md §2, invariant 11).

Rows are written in the transaction that ends custody of a copy, so they live in the spool's shard files: ``MIGRATIONS``
are part of a shard's, ``rows`` makes the writes for ``Custody.settle(records=…)``. ``Ledger`` reads all shards, while
they are served or not. ``prune`` keeps to the retention in small steps.
"""

from gateway.ledger.reading import Ledger
from gateway.ledger.record import DelayRecord
from gateway.ledger.writing import MIGRATIONS, prune, rows

__all__ = ["MIGRATIONS", "DelayRecord", "Ledger", "prune", "rows"]
