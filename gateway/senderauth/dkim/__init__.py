"""DKIM (RFC 6376, 8301, 8463, 8616): whose signatures does this mail carry, and do they hold? ``verify``, ``sign``.

``tags`` reads tag lists, ``signature`` and ``key`` hold them to their grammars, ``canonical`` has the octets that are
signed, computed once per message for all its signatures, ``crypto`` is the arithmetic, ``verify`` and ``sign`` the
two directions.

dkimpy gives the canonicalisation and the folding; everything that decides is here, because its verifier takes
rsa-sha1, appended text behind ``l=``, keys whose ``h=`` or ``t=s`` forbid it, takes SERVFAIL for "no key", and raises
on hostile input.
"""
