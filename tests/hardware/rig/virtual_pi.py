"""The machine with a board plugged in and phones on its air: what the system tests hold."""

import textwrap
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from tests.hardware.board.bus import I2cBus
from tests.hardware.board.cp2112 import Cp2112
from tests.hardware.board.tiny_usb import TinyUsb
from tests.hardware.board.usbip import Port
from tests.hardware.rig.machine import HOST, Init, Machine
from tests.hardware.rig.parts import BOOKWORM, Suite
from tests.hardware.rig.phone import Air

MODULES: Final = "i2c-dev vhci_hcd i2c-tiny-usb usbhid hid-cp2112 w1_therm ds2482 softdog"
# The GPIO chip goes first: it brings an I2C bus of its own, and the board's is to be /dev/i2c-1 as on a Pi. Each search
# for 1-Wire probes is some 800 transfers of 3 ms here (on a Pi 27 ms in all), so it is made once a minute, and by
# `search_probes()`.
PLUG: Final = """
set -e
modprobe wire timeout=60 slave_ttl=1
modprobe -a {modules}
wait_for() {{ for n in $(seq 1000); do [ -e $1 ] && return; sleep 0.05; done; echo "no $1"; exit 1; }}
/run/rig/attach 0 {host}:{gpio}; wait_for /dev/gpiochip1
/run/rig/attach 1 {host}:{i2c}; wait_for /dev/i2c-1
ln -sf gpiochip1 /dev/gpiochip4
"""
SEARCH: Final = """
cd /sys/bus/w1/devices && begun=$(cat w1_bus_master1/w1_master_attempts)
for n in $(seq 0 49); do
  [ $((n % 25)) = 0 ] && echo -1 >w1_bus_master1/w1_master_search  # which the kernel misses at the end of a search
  sleep 0.2
  [ $(cat w1_bus_master1/w1_master_attempts) = $begun ] && continue
  [ $(ls -d 28-* 2>/dev/null | wc -l) = {wanted} ] && break
done
ls -d 28-* 2>/dev/null || true
for probe in 28-*/features; do [ ! -e "$probe" ] || echo 2 >"$probe"; done  # as the udev rule of deploy/pi does
"""
RADIO: Final = """
set -e
modprobe hci_uart
stty -F /dev/ttyS0 115200 raw -echo
setsid btattach -B /dev/ttyS0 -P h4 -S 3000000 >/run/btattach.log 2>&1 </dev/null &
if [ -d /run/systemd/system ]; then systemctl start bluetooth
else
  mkdir -p /run/dbus; dbus-uuidgen --ensure; dbus-daemon --system --fork
  setsid /usr/libexec/bluetooth/bluetoothd -n >/run/bluetoothd.log 2>&1 </dev/null &
fi
for n in $(seq 1000); do [ -e /sys/class/bluetooth/hci0 ] && exit 0; sleep 0.05; done
cat /run/btattach.log; exit 1
"""


class VirtualPi:
    """A Raspberry Pi with everything on it, none of it real, all of it seen by the kernel's own drivers.

    Args:
        place: an empty folder of its own.
        bus: the I2C bus that the kernel gets as /dev/i2c-1.
        bridges: addresses of DS2482 on it, which the kernel is told of as a Pi's device tree would.
        forward: guest ports to be reached from this host.
    Attributes:
        machine, bus, gpio (lines 0..7 of /dev/gpiochip4, a Pi 5's), air.
    """

    def __init__(
        self,
        place: Path,
        bus: I2cBus,
        *,
        bridges: Sequence[int] = (),
        forward: Iterable[int] = (),
        init: Init = "plain",
        suite: Suite = BOOKWORM,
    ) -> None:
        self.machine = Machine(place, suite=suite, forward=forward, init=init)
        self.bus = bus
        self.gpio = Cp2112()
        self.air = Air(self.machine.bluetooth)
        self._bridges = bridges
        self._stack, self._radio = ExitStack(), ExitStack()
        self._ports = [Port(self.gpio), Port(TinyUsb(bus))]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for port in self._ports:
                stack.callback(port.close)
            stack.enter_context(self.machine)
            stack.callback(self._radio.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def plug_board(self) -> None:
        """Hand the board to the kernel: /dev/i2c-1, /dev/gpiochip4, probes under /sys/bus/w1/devices."""
        gpio, i2c = (port.number for port in self._ports)
        script = PLUG.format(modules=MODULES, host=HOST, gpio=gpio, i2c=i2c)
        for address in self._bridges:
            script += f"echo ds2482 {address:#04x} >/sys/bus/i2c/devices/i2c-1/new_device\n"
        self.machine.run(script)

    def search_probes(self, wanted: int = 2) -> list[str]:
        """Have the kernel look now which probes are on the wire; return those that it lists, when they are so many or
        ten seconds are over."""
        return self.machine.run(SEARCH.format(wanted=wanted)).out.split()

    def switch_radio_on(self) -> None:
        """BlueZ, with this host's air as its radio; again after each boot."""
        self._radio.close()
        self._radio.enter_context(self.air)
        self.air.patience = self.machine.patience
        self.machine.run(textwrap.dedent(RADIO))

    def cut_power(self) -> None:
        """The plug is pulled; the board and the disk stay as they are."""
        self.machine.cut_power()
