"""The layout of a compiled list, for its writer (``compiling``) and its reader (``mapped``).

    magic · CRC-32 of the rest · octets in all · octets of the head · head (JSON) · sections, each at a multiple of 8

The head says what was compiled from what, and where each section lies. Numbers have the machine's byte order, which
the head names: a file from another machine is compiled anew.

    4.index        where in 4.first the addresses with these leading bits begin
    4.first 4.last 4.fact                          IPv4 ranges, ascending, disjoint; number of the fact
    6.index 6.first_high 6.first_low 6.last_high 6.last_low 6.fact         the same for IPv6, in two halves
    key.index key.hash key.fact                    hashes of the table of names, ascending
    fact           rows of FACT; text.at, text     their texts

A hash of 64 bits stands for a name: among a million names, one of a thousand million look-ups of strangers' names
meets a name's hash by accident with a probability of 1 in 20,000. BLAKE2 keeps it from being made to.
"""

import sys
from hashlib import blake2b
from struct import Struct

MAGIC = b"tidegate-list-1\n"
# CRC-32, octets of the whole file, octets of the head.
PREAMBLE = Struct("=IQI")
ALIGNMENT = 8
BYTE_ORDER = sys.byteorder

# Texts: reason, value, entry (0: as the range reads); the fact behind it (0: none); flags; since, until (NaN: none).
FACT = Struct("=IIIII4xdd")
FLAG_EXCLUDED = 1
FLAG_DOTTED = 2

HASH_BITS = 64
# Beyond 2^16 parts an index costs more memory than it saves comparisons.
_MAX_INDEX_BITS = 16


def key_hash(key: str) -> int:
    """Return the hash that stands for a key."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def index_bits(count: int) -> int:
    """Return how many leading bits the index of ``count`` numbers tells apart."""
    return min(_MAX_INDEX_BITS, max(0, count.bit_length() - 2))


def aligned(octets: int) -> int:
    """Return ``octets`` rounded up to where a section may begin."""
    return -(-octets // ALIGNMENT) * ALIGNMENT
