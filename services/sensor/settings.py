"""Settings of the sensor service (section `sensor`)."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from services.bus.settings import BusSettings
from services.bus.topics import NODE_DEVICE, check_name


class SensorSettings(BusSettings):
    section: ClassVar[str] = "sensor"

    source: Literal["recorded"] = Field("recorded", title="Source", description="Where readings come from.")
    replay: Path = Field(title="Recording", description="Parquet or CSV file to replay.")
    map: str | None = Field(None, title="Column map", description="Shipped map's name or a YAML file; none = find one.")
    device: str = Field("pack-1", title="Device", description="Name of the thing watched, in topics.")
    speed: float | Literal["max"] = Field(1.0, title="Speed", description="Times faster than recorded, or `max`.")
    repeat: bool = Field(False, title="Repeat", description="When the recording ends, begin it again as new readings.")

    @field_validator("device")
    @classmethod
    def _device_name(cls, value: str) -> str:
        if value == NODE_DEVICE:
            raise ValueError(f"{NODE_DEVICE!r} is reserved for the node itself")
        return check_name("device", value)

    @field_validator("speed")
    @classmethod
    def _speed(cls, value: float | Literal["max"]) -> float | Literal["max"]:
        if value != "max" and not 0 < value <= 1e6:
            raise ValueError("expected a number above 0, or `max`")
        return value
