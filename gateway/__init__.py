"""Tidegate: an SMTP gateway that filters, times and accounts for every message."""

__version__ = "0.1.0"
