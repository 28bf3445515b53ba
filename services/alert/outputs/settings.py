"""Settings of the outputs: parts of section `alert`. GPIO numbers are the chip's line numbers (BCM on a Pi)."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Pin = Annotated[int, Field(ge=0, le=63)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LcdSettings(Part):
    """An HD44780 display behind a PCF8574."""

    bus: int = Field(1, ge=0, description="/dev/i2c-N.")
    address: int = Field(0x27, description="PCF8574: 0x20 to 0x27, PCF8574A: 0x38 to 0x3f.")
    size: Literal["20x4", "16x2"] = "20x4"

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        if self.address not in (*range(0x20, 0x28), *range(0x38, 0x40)):
            raise ValueError(f"address {self.address:#04x}: a PCF8574 has 0x20 to 0x27, a PCF8574A 0x38 to 0x3f")
        return self

    @property
    def columns(self) -> int:
        return int(self.size.split("x")[0])

    @property
    def rows(self) -> int:
        return int(self.size.split("x")[1])


class LampSettings(Part):
    """Three LEDs, or one with two colours: amber is then green and red together."""

    green: Pin
    red: Pin
    amber: Pin | None = None

    def pins(self) -> dict[str, int]:
        return {k: v for k, v in (("green", self.green), ("amber", self.amber), ("red", self.red)) if v is not None}


class BuzzerSettings(Part):
    """A buzzer that sounds by itself when it is powered."""

    pin: Pin
    active_high: bool = True

    def pins(self) -> dict[str, int]:
        return {"pin": self.pin}


class ButtonSettings(Part):
    """A push button to ground (or to 3.3 V: pull_up false)."""

    pin: Pin
    pull_up: bool = True

    def pins(self) -> dict[str, int]:
        return {"pin": self.pin}


class BluetoothSettings(Part):
    """The node as a Bluetooth LE peripheral (BlueZ)."""

    adapter: str = Field("hci0", pattern=r"^hci\d+$")
    name: str | None = Field(None, max_length=20, description="Advertised; default: Emberwatch and the node's name.")
    bthome: bool = Field(True, description="Advertise readings for Home Assistant, readable by anybody near.")
    set_clock: bool = Field(True, description="A paired phone may set a clock that nothing else has set.")
