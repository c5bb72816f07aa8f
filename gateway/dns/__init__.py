"""DNS answers as values: found, absent or temperror; never an exception for what a server says or fails to say.

Sources: RFC 1035, RFC 2181 (TTLs, names), RFC 2308 (negative answers), RFC 6891 (EDNS), RFC 7505 (null MX), RFC 8767
(not used: an expired answer is never served). The only room that imports dnspython.
"""
