"""Telling systemd (Type=notify) how the service stands: sd_notify(3) in its few lines."""

import os
import socket


def notify(state: str) -> None:
    """Send ``READY=1``, ``STOPPING=1``, ``RELOADING=1`` or ``STATUS=…``; does nothing without a service manager."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.connect("\0" + address[1:] if address[0] == "@" else address)
            channel.sendall(state.encode("ascii"))
        except OSError:
            # The manager is gone; the mail goes on.
            return
