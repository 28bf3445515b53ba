"""Settings of the sensor service (section `sensor`)."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from services.bus.settings import BusSettings
from services.bus.topics import NODE_DEVICE, check_name
from services.sensor.host.ups import Ups

SourceName = Literal["recorded", "pi", "simulated", "bms", "mqtt"]


def _names(value: Any) -> Any:
    """`pi` or `pi, bms` or a list."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


class SensorSettings(BusSettings):
    section: ClassVar[str] = "sensor"

    source: Annotated[tuple[SourceName, ...], NoDecode, BeforeValidator(_names)] = Field(
        ("recorded",), min_length=1, title="Source", description="Where readings come from; several: `pi, bms`."
    )
    replay: Path | None = Field(
        None, validate_default=True, title="Recording", description="Parquet or CSV file to replay (recorded)."
    )
    map: str | None = Field(None, title="Column map", description="Shipped map's name or a YAML file; none = find one.")
    pi: Path | None = Field(
        None, validate_default=True, title="Pi map", description="YAML: chips, probes and what they measure (pi)."
    )
    bms: Path | None = Field(None, validate_default=True, title="BMS list", description="YAML: packs by address (bms).")
    mqtt: Path | None = Field(
        None, validate_default=True, title="MQTT map", description="YAML: whose topics are which channels (mqtt)."
    )
    simulated: Path | None = Field(
        None, title="Simulation", description="YAML: packs and faults (simulated); none = one healthy pack."
    )
    host: bool = Field(
        False, title="Computer", description="This computer's own health as device `node`, beside live sources."
    )
    ups: Ups | None = Field(None, title="UPS", description="kind gpio (line, lost) or nut (name): docs/low-power.md.")
    clock: Literal["auto", "ntp", "rtc"] = Field(
        "auto", title="Clock", description="What sets this computer's clock; auto = find out."
    )
    device: str = Field("pack-1", title="Device", description="Name of the thing watched, in topics (recorded).")
    speed: float | Literal["max"] = Field(1.0, title="Speed", description="Times faster than recorded, or `max`.")
    repeat: bool = Field(False, title="Repeat", description="When the recording ends, begin it again as new readings.")

    @field_validator("source")
    @classmethod
    def _source(cls, value: tuple[SourceName, ...]) -> tuple[SourceName, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names a source twice")
        if "recorded" in value and len(value) > 1:
            raise ValueError("a recording is replayed alone")
        return value

    @field_validator("replay", "pi", "bms", "mqtt")
    @classmethod
    def _needed(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        source = "recorded" if info.field_name == "replay" else info.field_name
        if value is None and source in info.data.get("source", ()):
            raise PydanticCustomError("missing", "Field required (source {source})", {"source": source})
        return value

    @field_validator("host")
    @classmethod
    def _host_beside_live_ones(cls, value: bool, info: ValidationInfo) -> bool:
        if value and "recorded" in info.data.get("source", ()):
            raise ValueError("a recording is replayed alone")
        return value

    @field_validator("ups")
    @classmethod
    def _ups_of_the_host(cls, value: Ups | None, info: ValidationInfo) -> Ups | None:
        if value is not None and not info.data.get("host"):
            raise ValueError("needs `host: true`: it is a channel of this computer")
        return value

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

    def file_of(self, source: SourceName) -> Path | None:
        """The YAML file of a live source."""
        files = {"pi": self.pi, "bms": self.bms, "mqtt": self.mqtt, "simulated": self.simulated}
        return files.get(source)

    @property
    def live_sources(self) -> tuple[tuple[str, Path | None], ...]:
        """Name and file of each source that measures now."""
        named = tuple((name, self.file_of(name)) for name in self.source)
        return (*named, ("host", None)) if self.host else named
