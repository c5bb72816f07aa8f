"""The front door: SMTP sessions become values, values become replies; nothing is decided here.

``IntakeServer`` serves one listener. A session (``session.py``, a subclass of ``aiosmtpd.smtp.SMTP``) turns what the
client says into a frozen ``Connection``, ``Envelope``, ``Content`` = one ``Transaction``, asks the gate at CONNECT,
at each RCPT and after the final dot, has the spool keep what is accepted and only then says 250 (invariant 1).

Reading order: ``server`` → ``session`` (greeting, loop, end) → ``verbs`` (one method a command) → ``mailing`` (MAIL,
RCPT, DATA, BDAT) → ``acceptance`` (judge, store, reply, events). Beside it, without input or output: ``framing``
(where the content ends), ``proxy_protocol``, ``xclient``; ``content`` (memory, then a file), ``guard`` (limits at the
door), ``tls`` (certificates).

Sources: RFC 5321, RFC 1870 (SIZE), RFC 2034 (enhanced status codes), RFC 2920 (PIPELINING), RFC 3030 (CHUNKING), RFC
3207 (STARTTLS), RFC 3461 (DSN), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8), RFC 9422 (LIMITS), HAProxy's PROXY
protocol, Postfix's XCLIENT_README.
"""
