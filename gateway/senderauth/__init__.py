"""Who sent this mail, as far as DNS and signatures can tell: SPF, DKIM, DMARC, ARC, iprev.

Each evaluator is a function over ``gateway.dns.resolver.Resolver`` that returns one frozen ``…Result``: the word of
RFC 8601 §2.7, the reason for people, and the properties for ``Authentication-Results``. None ever raises for what a
mail, a record or a server says: what cannot be found out is *temperror*, what is malformed is *permerror*. None
decides anything; policies say what a word is worth.

* ``iprev``: RFC 8601 §3. * ``spf``: RFC 7208. * ``dkim``: RFC 6376, 8301, 8463, 8616, verifying and signing.
* ``dmarc``: RFC 9989. * ``arc``: RFC 8617, validating and sealing. * ``authentication_results``: RFC 8601.
* ``message``: all of them over one message, each asked once.

The door to dkimpy and the only user of ``cryptography``'s signatures.
"""
