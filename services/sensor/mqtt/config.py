"""The YAML of the `mqtt` source: which brokers, which devices, and whose topics are which channels.

The file (setting `sensor.mqtt`) names brokers and devices; a device names a map, shipped (maps/*.yaml) or a file of the
user's, and the values of the map's placeholders.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from services.bus.errors import ConfigError
from services.bus.settings import read_yaml
from services.bus.topics import check_name

SHIPPED: Final = Path(__file__).with_name("maps")
PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")
CELL: Final = "cell"  # stands for 1, 2, .. `cells` in a topic
_PATH: Final = re.compile(r"[A-Za-z0-9_\-/ ]+(\[\d+\])*(\.[A-Za-z0-9_\-/ ]+(\[\d+\])*)*|")
_CHANNEL: Final = re.compile(r"[a-z][a-z0-9_]*(\[\]|\[\d+\])?")
M = TypeVar("M", bound=BaseModel)


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Value(Part):
    """Where in a payload a channel is: value in the profile's unit = raw * scale + offset."""

    path: str = Field("", description="`a.b[2]` in the JSON; empty = the payload is the value itself.")
    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[float, ...] = Field((), description="Raw values that mean `no reading`.")

    @field_validator("path")
    @classmethod
    def _path(cls, value: str) -> str:
        if not _PATH.fullmatch(value):
            raise ValueError(f"{value!r}: expected names and [numbers] joined by dots, as `cells[3].volts`")
        return value


class Ask(Part):
    """Something to publish again and again, so that the other side goes on telling."""

    topic: str = Field(description="With placeholders; one message for each cell where it has {cell}.")
    payload: str = ""
    every_s: float = Field(gt=0)


class TopicMap(Part):
    """Whose topics are which channels."""

    title: str
    source: str = Field(description="Where the topics and units are documented.")
    profile: str = "battery"
    period_s: float = Field(gt=0, description="A row each so many seconds.")
    max_age_s: float = Field(gt=0, description="A value is good for so long [s].")
    ages_s: dict[str, float] = Field(default_factory=dict, description="The same for channels that come more rarely.")
    topics: dict[str, dict[str, Value]] = Field(
        min_length=1, description="Topic with placeholders -> channel, or `vector[]` where the topic has {cell}."
    )
    ask: tuple[Ask, ...] = ()

    @model_validator(mode="after")
    def _sensible(self) -> "TopicMap":
        for topic, channels in self.topics.items():
            if "#" in topic or "+" in topic:
                raise ValueError(f"topics: {topic}: wildcards are not allowed, a topic says one thing")
            for channel in channels:
                if not _CHANNEL.fullmatch(channel):
                    raise ValueError(f"topics.{topic}: {channel!r} is no channel, `vector[]` or `vector[3]`")
                if channel.endswith("[]") != (f"{{{CELL}}}" in topic):
                    raise ValueError(f"topics.{topic}: {channel}: `[]` goes with {{{CELL}}} in the topic, and only so")
        return self

    @property
    def placeholders(self) -> frozenset[str]:
        """What a device has to give, but for {cell}."""
        texts = [*self.topics, *(ask.topic for ask in self.ask)]
        return frozenset(name for text in texts for name in PLACEHOLDER.findall(text)) - {CELL}


class Broker(Part):
    host: str = Field(min_length=1)
    port: int = Field(1883, ge=1, le=65535)
    username: str | None = None
    password: str | None = Field(None, repr=False)
    ca: Path | None = Field(None, description="Certificate authority; set = TLS.")


class MappedDevice(Part):
    broker: str = Field(description="Which of `brokers`.")
    map: str = Field(description="A shipped map's name, or a YAML file (beside this one, or absolute).")
    values: dict[str, str | int] = Field(default_factory=dict, description="Of the map's placeholders.")
    cells: int | None = Field(None, ge=1, le=4096, description="Length of the vectors that the map tells by cell.")
    vectors: dict[str, int] = Field(default_factory=dict, description="Length of vectors that come as lists.")


class MqttConfig(Part):
    brokers: dict[str, Broker] = Field(min_length=1)
    devices: dict[str, MappedDevice] = Field(min_length=1)

    @model_validator(mode="after")
    def _named(self) -> "MqttConfig":
        for name, device in self.devices.items():
            check_name("device", name)
            if device.broker not in self.brokers:
                raise ValueError(f"devices.{name}.broker: {device.broker!r} is not among {', '.join(self.brokers)}")
        return self


def load_config(path: Path) -> MqttConfig:
    """Raises ConfigError naming the file, the key and the rule."""
    return _validated(MqttConfig, read_yaml(path), path)


def load_map(name: str, beside: Path) -> TopicMap:
    """A shipped map by its name, or a file. Raises ConfigError."""
    if name in shipped_maps():
        return shipped_maps()[name]
    path = beside / name
    if not path.is_file():
        known = ", ".join(shipped_maps())
        raise ConfigError(str(beside), f"map {name}", f"no such file, and no shipped map (there are {known})")
    return _validated(TopicMap, read_yaml(path), path)


@cache
def shipped_maps() -> dict[str, TopicMap]:
    return {path.stem: _validated(TopicMap, read_yaml(path), path) for path in sorted(SHIPPED.glob("*.yaml"))}


def _validated(model: type[M], content: Any, path: Path) -> M:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(str(path), ".".join(map(str, first["loc"])) or "file", first["msg"]) from None
