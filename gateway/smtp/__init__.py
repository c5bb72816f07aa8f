"""SMTP's words: addresses, replies, parameters, limits. No input or output.

Sources: RFC 5321 (SMTP), RFC 3463 (enhanced status codes), RFC 6531 (SMTPUTF8), RFC 3461 (DSN), RFC 3030 (CHUNKING).
"""
