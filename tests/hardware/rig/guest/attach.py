#!/usr/bin/python3
"""In the guest: hand the kernel's USB/IP port N a connection to the device that the host serves at HOST:PORT.

attach.py N HOST:PORT. The kernel keeps the socket when this ends.
"""

import socket
import sys
from pathlib import Path

ATTACH = Path("/sys/devices/platform/vhci_hcd.0/attach")
BUS, FULL_SPEED = 1, 2

number, address = int(sys.argv[1]), sys.argv[2]
host, port = address.split(":")
link = socket.create_connection((host, int(port)), timeout=10)
link.settimeout(None)
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
ATTACH.write_text(f"{number} {link.fileno()} {BUS << 16 | number + 2} {FULL_SPEED}")
