"""One mail transaction as immutable values: connection, envelope, content, header section, trace fields.

Sources: RFC 5321 (envelope, trace fields), RFC 5322 (header section), RFC 8601 (Authentication-Results).
"""
