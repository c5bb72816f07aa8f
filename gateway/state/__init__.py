"""What is counted and remembered for a while: connections, rates, octets in flight; without locks."""
