"""From a sample's channels to the numbers that a bundle wants. Pure."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.bus.messages import Channel, Layout, Values

BAD_QUALITY = ("fault", "range")  # `suspect` and `estimated` values are judged: a suspect one may be the fault itself


class ChannelSpec(BaseModel):
    """One column of a bundle's window: where it comes from, how it is reduced to a step, how it is scaled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Channel = Field(description="Channel of the profile, or `charge` when `derived`.")
    role: Literal["input", "response"] = Field(description="A response has its share in the score, an input has not.")
    derived: Literal["charge"] | None = Field(
        None, description="`charge`: Ah counted from `current` since the window's segment began."
    )
    across: Literal["mean"] | None = Field(None, description="How a vector becomes one number.")
    per: Channel | None = Field(None, description="Divide by the number of elements of this vector (V per cell).")
    reduce: Literal["mean", "last"] = Field("mean", description="How samples faster than a step become one.")
    offset: float = Field(description="Scaler: the graph sees (value - offset) / scale.")
    scale: float = Field(gt=0)

    @model_validator(mode="after")
    def _sensible(self) -> "ChannelSpec":
        if self.derived and (self.name != self.derived or self.across or self.per or self.role != "input"):
            raise ValueError(f"{self.name}: a derived {self.derived} is an input of that name and nothing else")
        return self


class ChannelReader:
    """Reads a bundle's columns from samples of one layout.

    Args:
        specs: the bundle's columns in order.
        layout: of the device.
    Raises:
        ValueError: the device does not measure a channel that the bundle needs.
    """

    def __init__(self, specs: Sequence[ChannelSpec], layout: Layout) -> None:
        lengths = {channel.name: channel.length for channel in layout.channels}
        self._columns: list[tuple[str, int | None, float]] = []  # name ("" = derived), vector length, factor
        for spec in specs:
            if spec.derived:
                self._columns.append(("", None, 0.0))
                continue
            if spec.name not in lengths:
                raise ValueError(f"the device does not measure {spec.name}")
            length = lengths[spec.name]
            if (length is None) == (spec.across is not None):
                raise ValueError(f"{spec.name}: the layout and the bundle disagree whether it is a vector")
            factor = 1.0
            if spec.per is not None:
                elements = lengths.get(spec.per)
                if elements is None:
                    raise ValueError(f"the number of {spec.per} is not in the layout")
                factor = 1.0 / elements
            self._columns.append((spec.name, length, factor))

    def read(self, channels: Mapping[str, Values], quality: Mapping[str, str]) -> list[float | None]:
        """One number a column; None where nothing true was read (and for the derived ones)."""
        bad = {name for name, mark in quality.items() if mark.startswith(BAD_QUALITY)} if quality else quality
        row: list[float | None] = []
        for name, length, factor in self._columns:
            value = channels.get(name)
            if value is None or name in bad:
                row.append(None)
            elif length is None:
                row.append(None if isinstance(value, list) else value * factor)
            elif isinstance(value, list) and len(value) == length:
                row.append(_mean(name, value, bad))
            else:
                row.append(None)
        return row


def _mean(name: str, values: list[float | None], bad: object) -> float | None:
    """Mean of the true elements; None when fewer than half are true."""
    if not bad:
        try:
            return sum(values) / len(values)  # type: ignore[arg-type]  # a None raises, and is rare
        except TypeError:
            pass
    names = bad if isinstance(bad, set) else set()
    true = [v for i, v in enumerate(values) if v is not None and f"{name}[{i}]" not in names]
    return sum(true) / len(true) if 2 * len(true) >= len(values) else None
