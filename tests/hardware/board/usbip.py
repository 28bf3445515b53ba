"""USB devices played in Python and plugged into a Linux kernel over USB/IP.

The kernel's `vhci_hcd` takes any connected stream socket: a `Port` serves a device on TCP, and the machine whose kernel
is to have it connects and writes the socket's number to `vhci_hcd.0/attach` (rig/agent.py does). So neither usbip's
daemon nor its import handshake is needed.

Source: Linux Documentation/usb/usbip_protocol.rst (basic header 0x30 bytes, network byte order).
"""

import contextlib
import errno
import socket
import struct
import threading
from typing import ClassVar, Final

SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4
HEADER: Final = struct.Struct(">5I")  # command, seqnum, devid, direction (1 = in), endpoint
SUBMIT_BODY: Final = struct.Struct(">Iiiii8s")  # flags, length, start frame, packets, interval, setup
SUBMITTED_BODY: Final = struct.Struct(">iiiii8x")  # status, actual length, start frame, packets, errors
UNLINK_BODY: Final = struct.Struct(">I24x")
UNLINKED_BODY: Final = struct.Struct(">i24x")
SETUP: Final = struct.Struct("<BBHHH")  # request type, request, value, index, length

TO_HOST: Final = 0x80
GET_STATUS, CLEAR_FEATURE, SET_FEATURE, GET_DESCRIPTOR, SET_CONFIGURATION, SET_IDLE, SET_INTERFACE = (
    0,
    1,
    3,
    6,
    9,
    10,
    11,
)
DEVICE, CONFIGURATION, STRING, HID_REPORT = 1, 2, 3, 0x22  # descriptors
FULL_SPEED: Final = 2


class Stall(Exception):
    """The request is not one of this device: USB's answer is a stall."""


class Silence(Exception):
    """The device does not answer: the request stays open until the kernel gives it up."""


class UsbDevice:
    """One device with one interface.

    Class attributes:
        vendor, product, release: as in its device descriptor.
        interface_class: 0xFF vendor, 3 HID.
        endpoints: addresses of interrupt endpoints.
        report_descriptor: of a HID device.
    """

    vendor: ClassVar[int]
    product: ClassVar[int]
    release: ClassVar[int] = 0x0100
    interface_class: ClassVar[int] = 0xFF
    endpoints: ClassVar[tuple[int, ...]] = ()
    report_descriptor: ClassVar[bytes] = b""

    def control(self, request_type: int, request: int, value: int, index: int, length: int, data: bytes) -> bytes:
        """A class or vendor request; the answer of a read, b"" of a write. Raises Stall, Silence."""
        raise Stall

    def transfer(self, setup: bytes, data: bytes) -> bytes:
        """Any control transfer: the standard requests here, the rest to `control`. Raises Stall, Silence."""
        request_type, request, value, index, length = SETUP.unpack(setup)
        if request_type & 0x60 == 0:
            return self._standard(request_type, request, value)[:length]
        if request == SET_IDLE and request_type == 0x21:
            return b""
        return self.control(request_type, request, value, index, length, data)[:length]

    def _standard(self, request_type: int, request: int, value: int) -> bytes:
        if request == GET_DESCRIPTOR:
            return self._descriptor(value >> 8, value & 0xFF)
        if request == GET_STATUS:
            return b"\0\0"
        if request in (CLEAR_FEATURE, SET_FEATURE, SET_CONFIGURATION, SET_INTERFACE) and not request_type & TO_HOST:
            return b""
        raise Stall

    def _descriptor(self, kind: int, index: int) -> bytes:
        if kind == DEVICE:
            names = (1, 2, 3)
            return struct.pack(
                "<BBHBBBBHHHBBBB", 18, 1, 0x0110, 0, 0, 0, 64, self.vendor, self.product, self.release, *names, 1
            )
        if kind == CONFIGURATION:
            body = struct.pack("<BBBBBBBBB", 9, 4, 0, 0, len(self.endpoints), self.interface_class, 0, 0, 0)
            if self.report_descriptor:
                body += struct.pack("<BBHBBBH", 9, 0x21, 0x0111, 0, 1, HID_REPORT, len(self.report_descriptor))
            for address in self.endpoints:
                body += struct.pack("<BBBBHB", 7, 5, address, 3, 64, 10)
            return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 1, 1, 0, 0x80, 50) + body
        if kind == STRING:
            if index == 0:
                return b"\x04\x03\x09\x04"  # English (United States)
            name = f"virtual {type(self).__name__}".encode("utf-16le")
            return bytes([2 + len(name), 3]) + name
        if kind == HID_REPORT and self.report_descriptor:
            return self.report_descriptor
        raise Stall


class Port:
    """A TCP port on the loopback address at which one device waits for a kernel. Connecting again plugs it in again.

    `close()` unplugs it.
    """

    def __init__(self, device: UsbDevice) -> None:
        self.device = device
        self.plugged = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.number: int = self._listener.getsockname()[1]
        self._link: socket.socket | None = None
        threading.Thread(target=self._accept, name=f"usbip {type(device).__name__}", daemon=True).start()

    def unplug(self) -> None:
        """Pull the device; the kernel sees it go."""
        if self._link is not None:
            with contextlib.suppress(OSError):  # already gone
                self._link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.unplug()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            with link:
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._link = link
                self.plugged.set()
                with contextlib.suppress(OSError, EOFError):
                    serve(self.device, link)
                self.plugged.clear()


def serve(device: UsbDevice, link: socket.socket) -> None:
    """Answer a kernel's requests until it hangs up. Raises EOFError, OSError then."""
    waiting: set[int] = set()  # sequence numbers of requests that have no answer yet
    while True:
        command, number, _, to_host, endpoint = HEADER.unpack(receive(link, HEADER.size))
        body = receive(link, SUBMIT_BODY.size)
        if command == UNLINK:
            (other,) = UNLINK_BODY.unpack(body)
            status = -errno.ECONNRESET if other in waiting else 0
            waiting.discard(other)
            link.sendall(HEADER.pack(UNLINKED, number, 0, 0, 0) + UNLINKED_BODY.pack(status))
            continue
        _, length, _, _, _, setup = SUBMIT_BODY.unpack(body)
        data = receive(link, length) if not to_host else b""
        status, answer = 0, b""
        if endpoint == 0:
            try:
                answer = device.transfer(setup, data)
            except Stall:
                status = -errno.EPIPE
            except Silence:
                waiting.add(number)
                continue
        elif to_host:
            waiting.add(number)  # nothing to report on an interrupt endpoint
            continue
        sent = len(answer) if to_host else (length if not status else 0)
        link.sendall(HEADER.pack(SUBMITTED, number, 0, 0, 0) + SUBMITTED_BODY.pack(status, sent, 0, 0, 0) + answer)


def receive(link: socket.socket, n: int) -> bytes:
    """Exactly n bytes. Raises EOFError: the other side hung up."""
    data = b""
    while len(data) < n:
        part = link.recv(n - len(data))
        if not part:
            raise EOFError
        data += part
    return data
