"""DNS lists (RFC 5782): is an address or a name listed, with which code, in whose words.

``query`` writes the question, ``codes`` and ``zone`` say what an answer means, ``reading`` tells listings from refusals
and failures, ``client`` asks many zones at once within a budget, ``health`` finds out which zones can be believed,
``own`` looks our own names and addresses up.

Unknown is never a listing and never clean (invariant 8): SERVFAIL and time-outs are temperror; an answer that no list
gives for a listing (127.255.255.0/24, 127.0.0.1, …255, anything outside 127.0.0.0/8) is ``dnsbl_error``.
"""
