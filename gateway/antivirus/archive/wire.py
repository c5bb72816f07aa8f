"""What the walker and its child say to each other.

Two lengths (4 octets, big-endian), JSON of the first, octets of the second. JSON, because the child reads what
attackers write: its answer is checked like any other input.
"""

import json
from typing import Any

LENGTH_OCTETS = 4
# A report of all entries with long names; beyond it something other than our child is talking.
MAX_JSON_OCTETS = 64 * 1024 * 1024


def pack(plain: dict[str, Any], octets: int) -> bytes:
    """Return a frame's beginning; ``octets`` more follow it."""
    body = json.dumps(plain, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    return len(body).to_bytes(LENGTH_OCTETS, "big") + octets.to_bytes(LENGTH_OCTETS, "big") + body


def unpack_json(body: bytes) -> dict[str, Any]:
    """Return the value; ValueError when it is not what was agreed."""
    plain = json.loads(body)
    if not isinstance(plain, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one error for all that is not what was agreed
    return plain
