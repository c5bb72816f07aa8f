"""Whether an identity is listed, by whom, why, until when.

``local`` answers from files of our own and of others, compiled and mapped; DNS lists (RFC 5782) are asked over the
network. Both answer with a ``Listing``. What a listing means for the mail is a policy's business, not theirs.
"""
