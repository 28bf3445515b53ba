"""How a UPS says that the power is lost: a GPIO line (most UPS boards for a Pi), or NUT (networkupstools.org)."""

import os
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

TIMEOUT_S: Final = 2.0
LONGEST_LINE: Final = 1024
REQUEST: Final = Path("/run/emberwatch/power-off")  # emberwatch-poweroff.path waits for it


@dataclass(frozen=True, slots=True)
class Said:
    """lost: on battery; low: the battery is nearly empty."""

    lost: bool
    low: bool = False


class Signal(Protocol):
    """Something that can be asked. Blocks for some seconds at most."""

    def ask(self) -> Said:
        """Raises OSError when it does not answer."""
        ...

    def close(self) -> None: ...


class _Ups(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    shutdown_after_s: float = Field(120.0, ge=5, le=86_400, description="On battery for so long: switch off [s].")
    request: Path = Field(REQUEST, description="File whose coming makes the system switch off.")


class GpioUps(_Ups):
    """A line that the UPS drives."""

    kind: Literal["gpio"]
    line: int = Field(ge=0, le=53, description="GPIO number (not the pin of the header).")
    lost: Literal["high", "low"] = Field("high", description="Level of the line when the power is lost.")
    chip: int | None = Field(None, ge=0, description="/dev/gpiochipN; none = the Pi's own.")


class NutUps(_Ups):
    """A UPS that NUT's upsd on this computer knows."""

    kind: Literal["nut"]
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="As in ups.conf.")
    host: str = Field("127.0.0.1", description="Where upsd listens.")
    port: int = Field(3493, ge=1, le=65_535)


Ups = Annotated[GpioUps | NutUps, Field(discriminator="kind")]


class Line:
    """A GPIO line. A wire that is off counts as lost power: the pull says so."""

    def __init__(self, ups: GpioUps, factory: Callable[[int | None], Any]) -> None:
        self._ups, self._factory = ups, factory
        self._line: Any = None

    def ask(self) -> Said:
        if self._line is None:
            from gpiozero import InputDevice  # one that waits for edges costs two thousand wake-ups a second

            up = self._ups.lost == "high"
            self._line = InputDevice(self._ups.line, pull_up=up, pin_factory=self._factory(self._ups.chip))
        return Said(bool(self._line.pin.state) == (self._ups.lost == "high"))

    def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()


class Nut:
    """upsd, asked anew each time (its protocol: developer guide of NUT, chapter 9)."""

    def __init__(self, ups: NutUps) -> None:
        self._ups = ups

    def ask(self) -> Said:
        with socket.create_connection((self._ups.host, self._ups.port), TIMEOUT_S) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.sendall(f"GET VAR {self._ups.name} ups.status\n".encode())
            with connection.makefile("rb") as answer:
                line = answer.readline(LONGEST_LINE).decode(errors="replace").strip()
        return status(line, self._ups.name)

    def close(self) -> None:
        """Nothing is held."""


def status(line: str, name: str) -> Said:
    """upsd's answer. Raises OSError when it is none, or when the status is not known to it."""
    begin = f'VAR {name} ups.status "'
    words = line[len(begin) :].rstrip('"').split() if line.startswith(begin) else []
    if not {"OL", "OB"} & set(words):
        raise OSError(f"NUT: {line[:80]!r}")
    return Said("OB" in words, "LB" in words or "FSD" in words)


def lgpio_factory(chip: int | None) -> Any:
    """gpiozero's pins by lgpio. Raises OSError: no such chip, no permission, no board that gpiozero knows."""
    os.environ.setdefault("LG_WD", tempfile.gettempdir())  # lgpio leaves a pipe in the current folder otherwise
    try:
        from gpiozero.pins.lgpio import LGPIOFactory

        return LGPIOFactory(chip=chip)
    except Exception as error:  # lgpio.error is no subclass of anything
        raise OSError(f"GPIO: {error}") from error


def open_ups(ups: GpioUps | NutUps) -> Signal:
    return Line(ups, lgpio_factory) if isinstance(ups, GpioUps) else Nut(ups)
