"""What a reader sees of a mail: octets become text, headers and HTML become what a mail reader shows.

``charsets`` octets → text · ``words`` header values (RFC 2047, RFC 2231) · ``addresses`` authors (RFC 5322) ·
``html`` markup → visible text · ``normal`` one form for matching · ``urls`` links and their hosts · ``scripts`` writing
systems · ``confusable`` what looks alike.

Nothing here raises on hostile input, and all of it is linear in its input, or bounded where it cannot be.
"""
