"""Custody: from the 250 to the final dot until every recipient is delivered, failed or discarded (invariant 1)."""
