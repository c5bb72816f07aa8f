"""Asks clamd what it knows of a message, and never mistakes silence for clean (contract.md §5).

``Scanners`` gives a ``ScanResult`` for each piece of a message, over sessions of our own with every configured clamd:
failover, bounded concurrency, time-outs that scale with size, results remembered by content and signatures. ``Watch``
keeps an eye on the scanners and on the age of their signatures. ``archive`` walks archives in a child process that is
bounded in time, memory, depth, entries and octets. ``control`` is the one door to pyclamd.

Only clamd's exact word for it is clean. A hang, a reset, an error, an answer to another question, signatures that
changed midway: each is a temperror with its cause, and policy says what becomes of the mail.
"""
