"""DMARC (RFC 9989): whether the author's domain stands behind a mail, and what it wants done otherwise.

``author`` reads From, ``record`` the policy records, ``walk`` is the DNS tree walk, ``evaluate`` puts them together
with what SPF and DKIM found.
"""
