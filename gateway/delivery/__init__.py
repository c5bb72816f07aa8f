"""The SMTP edge that faces the next hops: what the spool has in custody leaves here, and its outcome is written back.

``DeliveryRunner`` takes messages fresh from memory or out of the spool, groups recipients into transfers, and settles
each with one transaction: states, ledger rows, delivery status notifications. ``CalloutVerifier`` asks next hops about
recipients. Everything foreign (clock, randomness, DNS, spool, snapshot) comes in as a parameter.

Sources: RFC 5321 (SMTP client, MX), RFC 2920 (PIPELINING), RFC 1870 (SIZE), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8),
RFC 3207 (STARTTLS), RFC 2033 (LMTP), RFC 3461, 3464, 6522, 6533 (DSN), RFC 7505 (null MX), RFC 8305 (happy eyeballs),
RFC 9422 (LIMITS).
"""
