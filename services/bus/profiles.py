"""Profiles and layouts. A profile (profiles/*.yaml) names channels, units and plausible ranges; a layout is what one
device has of it, and gives each channel its place in the flat vector that the store and the bundles use."""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.bus.errors import ConfigError
from services.bus.messages import Channel, Layout, LayoutChannel, Value, Values
from services.bus.settings import ROOT, read_yaml


class ProfileChannel(BaseModel):
    """One channel: unit, and the range outside of which a reading cannot be true."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Channel
    title: str
    unit: str
    kind: Literal["scalar", "vector"] = "scalar"
    low: float = Field(description="Least plausible reading, unit of the channel.")
    high: float = Field(description="Greatest plausible reading, unit of the channel.")
    jump: float | None = Field(
        None, gt=0, description="A change per second beyond this marks the reading `suspect`; it is never dropped."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "ProfileChannel":
        if self.low >= self.high:
            raise ValueError(f"{self.name}: low {self.low} is not below high {self.high}")
        return self


class Profile(BaseModel):
    """A named, versioned, ordered set of channels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int = Field(ge=1)
    title: str
    period_s: float = Field(gt=0, description="Expected time between samples [s].")
    channels: tuple[ProfileChannel, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> "Profile":
        names = [channel.name for channel in self.channels]
        if len(set(names)) != len(names):
            raise ValueError(f"a channel is named twice in {names}")
        return self

    @cached_property
    def by_name(self) -> Mapping[str, ProfileChannel]:
        return {channel.name: channel for channel in self.channels}

    def layout(self, present: Mapping[str, int | None], period_s: float | None = None) -> Layout:
        """The layout of a device that has `present`: channel -> None (scalar) or length (vector).

        Raises:
            ValueError: a channel is not in the profile, or scalar and vector are mixed up.
        """
        for name, length in present.items():
            if name not in self.by_name:
                raise ValueError(f"channel {name!r} is not in profile {self.name}")
            if (length is None) != (self.by_name[name].kind == "scalar"):
                raise ValueError(f"channel {name!r} is a {self.by_name[name].kind} in profile {self.name}")
        channels = [
            LayoutChannel(name=c.name, unit=c.unit)
            if present[c.name] is None
            else LayoutChannel(name=c.name, unit=c.unit, length=present[c.name])
            for c in self.channels
            if c.name in present
        ]
        canonical = json.dumps([self.name, self.version, [[c.name, c.unit, c.length] for c in channels]])
        return Layout(
            profile=self.name,
            version=self.version,
            hash=hashlib.sha256(canonical.encode()).hexdigest()[:8],
            period_s=period_s or self.period_s,
            channels=channels,
        )


def load_profile(name: str, folder: Path = ROOT / "profiles") -> Profile:
    """Read profiles/{name}.yaml. Raises ConfigError naming file and key."""
    path = folder / f"{name}.yaml"
    content = read_yaml(path)
    try:
        profile = Profile.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(str(path), ".".join(map(str, first["loc"])) or "file", first["msg"]) from None
    if profile.name != name:
        raise ConfigError(str(path), "name", f"is {profile.name!r}, expected {name!r} as the file is called")
    return profile


def width(layout: Layout) -> int:
    """How many numbers a sample of this layout has, vectors written out."""
    return sum(channel.length or 1 for channel in layout.channels)


def flatten(layout: Layout, channels: Mapping[str, Values]) -> list[Value]:
    """A sample's channels as one list in layout order; a channel that did not come is None.

    Raises:
        ValueError: a channel is not in the layout, or a vector has another length.
    """
    flat: list[Value] = []
    found = 0
    for channel in layout.channels:
        value = channels.get(channel.name)
        found += channel.name in channels
        if channel.length is None:
            if isinstance(value, list):
                raise ValueError(f"{channel.name}: a list, the layout says scalar")
            flat.append(value)
        elif value is None:
            flat.extend([None] * channel.length)
        elif not isinstance(value, list) or len(value) != channel.length:
            got = len(value) if isinstance(value, list) else "a scalar"
            raise ValueError(f"{channel.name}: {got}, the layout says a list of {channel.length}")
        else:
            flat.extend(value)
    if found != len(channels):
        strange = sorted(set(channels) - {c.name for c in layout.channels})
        raise ValueError(f"{strange[0]}: not in layout {layout.hash}")
    return flat


def slots(layout: Layout) -> list[str]:
    """Names of the flat list's places: `voltage`, .., `cell_voltages[0]`, `cell_voltages[1]`, .."""
    return [
        name
        for c in layout.channels
        for name in ([c.name] if c.length is None else [f"{c.name}[{i}]" for i in range(c.length)])
    ]
