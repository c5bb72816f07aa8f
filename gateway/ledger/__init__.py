"""How long it took: the contract's stamps per recipient (contract.md §2, invariant 11)."""
