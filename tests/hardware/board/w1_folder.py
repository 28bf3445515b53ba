"""/sys/bus/w1/devices as files: what the kernel's w1_therm shows of DS18B20 probes, for tests without a kernel."""

import os
import shutil
from pathlib import Path

from tests.hardware.board.onewire import crc8

AT_POWER_ON = 0x0C


class W1Folder:
    """Probes by name (`28-0000012345ab`), each a folder with `w1_slave` and `resolution`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        folder.mkdir(parents=True, exist_ok=True)

    def measure(self, name: str, celsius: float, *, bits: int = 12, clone: bool = False, crc: bool = True) -> None:
        """What a conversion leaves. `clone`: byte 6 does not move with the temperature."""
        raw = round(celsius * 16) & (-1 << (12 - bits))
        self.scratchpad(name, raw, AT_POWER_ON if clone else 0x10 - (raw & 0x0F), bits=bits, crc=crc)

    def power_on(self, name: str) -> None:
        """What is there until the first conversion ends: 85.0 degC, with a good CRC."""
        self.scratchpad(name, 85 * 16, AT_POWER_ON)

    def scratchpad(self, name: str, raw: int, byte6: int, *, bits: int = 12, crc: bool = True) -> None:
        data = (raw & 0xFFFF).to_bytes(2, "little") + bytes([0x4B, 0x46, (bits - 9) << 5 | 0x1F, 0xFF, byte6, 0x10])
        data += bytes([crc8(data) ^ (0 if crc else 0x55)])
        self._lines(name, data, raw, crc)
        (self.path / name / "resolution").write_text(f"{bits}\n")

    def zeros(self, name: str) -> None:
        """The wire is held low: nine zeros, whose CRC is good."""
        self._lines(name, bytes(9), 0, True)

    def empty(self, name: str) -> None:
        self._write(name, "")

    def pull(self, name: str) -> None:
        """The kernel has noticed that the probe is gone."""
        shutil.rmtree(self.path / name)

    def hang(self, name: str) -> None:
        """A read does not come back (until `release`)."""
        file = self.path / name / "w1_slave"
        file.unlink()
        os.mkfifo(file)

    def release(self, name: str) -> None:
        """End reads that hang, with nothing."""
        os.close(os.open(self.path / name / "w1_slave", os.O_WRONLY | os.O_NONBLOCK))

    def resolution(self, name: str) -> int:
        """What somebody has set."""
        return int((self.path / name / "resolution").read_text())

    def _lines(self, name: str, data: bytes, raw: int, crc: bool) -> None:
        shown = " ".join(f"{byte:02x}" for byte in data)
        verdict = f"crc={data[8]:02x} {'YES' if crc else 'NO'}"
        self._write(name, f"{shown} : {verdict}\n{shown} t={raw * 1000 // 16}\n")

    def _write(self, name: str, text: str) -> None:
        (self.path / name).mkdir(exist_ok=True)
        draft = self.path / name / ".draft"
        draft.write_text(text)
        draft.replace(self.path / name / "w1_slave")
