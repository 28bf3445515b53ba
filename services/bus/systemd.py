"""What systemd is told of a service (sd_notify(3)): ready, alive, stopping. Without systemd it is told to nobody."""

import os
import socket


def notify(state: str) -> bool:
    """Send `READY=1`, `WATCHDOG=1`, `STOPPING=1`. Returns whether anybody was told; it never blocks and never raises.

    A unit of `Type=notify` names the socket in NOTIFY_SOCKET; `@` at its beginning stands for the abstract namespace.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as end:
            end.connect(address)
            end.send(state.encode())
    except OSError:  # systemd is being re-executed, or its buffer is full: the next one comes in 5 s
        return False
    return True
