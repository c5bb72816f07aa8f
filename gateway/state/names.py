"""Under which names a client's past is kept, the most particular first.

A sender's domain counts together with the network its mail comes from: anybody can write another's domain into a
reverse-path, nobody into another's network. A client's own domain is that of its reverse name, which must be verified
(RFC 8601 §3, iprev).
"""

from functools import lru_cache

from gateway.mail.text.hosts import registrable
from gateway.state.network import IpAddress, neighbourhood_key, network_key


def client_name_key(client_name: str) -> str:
    """Return the name for a verified reverse name's registrable domain, "" without one."""
    domain = registrable(client_name) if client_name else ""
    return f"name {domain}" if domain else ""


# The senders of a busy minute; an entry is some 600 octets.
@lru_cache(maxsize=4096)
def standing_names(client: IpAddress, client_name: str, sender_domain: str) -> tuple[str, ...]:
    """Return every name that mail from this client counts under; names that are "" are left out."""
    network = neighbourhood_key(client)
    sender = (registrable(sender_domain) or sender_domain) if sender_domain else ""
    names = (
        f"client {network_key(client)}",
        f"sender {sender} {network}" if sender else "",
        client_name_key(client_name),
        f"network {network}",
    )
    return tuple(name for name in names if name)
