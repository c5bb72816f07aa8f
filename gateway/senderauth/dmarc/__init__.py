"""DMARC (RFC 9989): whether the author's domain stands behind a mail, and what it wants done otherwise.

``author`` reads From, ``record`` the policy records, ``walk`` is the DNS tree walk, ``evaluate`` puts them together
with what SPF and DKIM found.

Reports (RFC 9990): ``facts`` is what the journal keeps for them, ``aggregate`` counts a day, ``report`` writes it,
``destinations`` tells who may have it, ``sending`` goes through a day and ``sent`` remembers. ``ingest`` reads the
reports of others, ``received`` keeps them.
"""
