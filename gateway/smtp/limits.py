"""The numeric limits of the SMTP grammar, each with its source.

These bound single lines and values. What an administrator may set (recipients, rates, sizes of messages) is
configuration.
"""

# RFC 5321 §4.5.3.1.1 asks to take 64 octets and §4.5.3.1 to avoid limits: VERP and SRS senders write longer local
# parts than that, and refusing their mail would lose it. Counted as written, quotes included.
MAX_LOCAL_PART_OCTETS = 128

# RFC 5321 §4.5.3.1.2: domain ≤ 255 octets, counted as written and again as A-labels.
MAX_DOMAIN_OCTETS = 255

# RFC 1035 §2.3.4: label ≤ 63 octets.
MAX_LABEL_OCTETS = 63

# RFC 5321 §4.5.3.1.3: path ≤ 256 octets, "<" and ">" and any source route included.
MAX_PATH_OCTETS = 256

# RFC 5321 §4.5.3.1.4: command line ≤ 512 octets, CR LF included, before any extension.
BASE_COMMAND_LINE_OCTETS = 512

# The extensions offered add: SIZE 26 (RFC 1870 §3), BODY=8BITMIME 17 (RFC 6152 §2), SMTPUTF8 10 (RFC 6531 §3.1), and
# by the bounds below DSN's " RET=HDRS" 9 and " ENVID=" 107 to MAIL, " ORCPT=" 507 and " NOTIFY=SUCCESS,FAILURE,DELAY"
# 29 to RCPT (RFC 3461 §4); AUTH= adds 500 (RFC 4954 §3). MAIL therefore needs 1,181 and RCPT 1,048 octets. One number
# serves both, rounded up to the one Postfix uses (line_length_limit = 2048), so no command another relay accepts is
# too long here.
MAX_COMMAND_LINE_OCTETS = 2048

# RFC 1870 §3: size-value is 1*20DIGIT.
MAX_SIZE_DIGITS = 20

# RFC 3461 §4.4: ENVID ≤ 100 characters as xtext.
MAX_ENVID_OCTETS = 100

# RFC 3461 §4.2: ORCPT ≤ 500 characters, address type included.
MAX_ORCPT_OCTETS = 500

# RFC 4954 §3 (5): the AUTH parameter adds at most 500 octets to MAIL.
MAX_AUTH_PARAMETER_OCTETS = 500

# RFC 3030 §2: chunk-size is 1*DIGIT; twenty digits hold 2^64, as for SIZE.
MAX_CHUNK_SIZE_DIGITS = 20

# RFC 5321 §4.5.3.1.8: at least 100 recipients in one transaction are accepted; no setting goes below.
MIN_RECIPIENTS_PER_TRANSACTION = 100

# A next hop's reply line: RFC 5321 §4.5.3.1.5 says 512 octets, servers with long policy texts send more; Postfix's
# limit.
MAX_REPLY_LINE_OCTETS_FROM_NEXT_HOP = 2048

# The longest EHLO replies in the wild have some 30 lines; a hundred is no reply but a stream.
MAX_REPLY_LINES_FROM_NEXT_HOP = 100

# What one unfinished or finished reply may hold in memory; a tenth of a percent of the smallest sensible memory_budget.
MAX_REPLY_OCTETS_FROM_NEXT_HOP = 64 * 1024
