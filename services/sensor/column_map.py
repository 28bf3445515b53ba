"""Column maps: which column of a recording is which channel, in which unit, and what stands for "no reading".

Data, not code: services/sensor/maps/*.yaml, or any file given by --map.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from services.bus.errors import ConfigError, SourceError
from services.bus.messages import Channel, TimeSource
from services.bus.settings import read_yaml

SHIPPED: Final = Path(__file__).with_name("maps")


def _pattern(text: str) -> str:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"{text!r}: put the element's number in one group, as in 'V_(\\d+)'")
    return text


class Column(BaseModel):
    """One channel: `column` of a scalar or `columns` (pattern with the element's number) of a vector.

    value in the profile's unit = raw * scale + offset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str | None = None
    columns: Annotated[str, AfterValidator(_pattern)] | None = None
    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[float, ...] = Field((), description="Raw values that mean `no reading`.")
    optional: bool = False

    @model_validator(mode="after")
    def _one(self) -> "Column":
        if (self.column is None) == (self.columns is None):
            raise ValueError("give either `column` (scalar) or `columns` (vector)")
        return self


class TimeColumn(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str


class Check(BaseModel):
    """The greatest good element of `channel` must lie `within` of scalar `against` (median over the first rows)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: Channel
    against: Channel
    within: float = Field(gt=0)


class ColumnMap(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str
    title: str
    time: TimeColumn
    time_source: TimeSource
    channels: dict[Channel, Column] = Field(min_length=1)
    check: Check | None = None

    @field_validator("time_source")
    @classmethod
    def _trusted(cls, value: TimeSource) -> TimeSource:
        if value == "none":
            raise ValueError(
                "a recording whose times nobody trusts cannot be stored: give it its time, and say of whom"
            )
        return value

    def select(self, columns: Sequence[str], where: str) -> dict[str, list[str]]:
        """The recording's columns of each channel that it has; a vector's sorted by number.

        Raises:
            SourceError: a column that the map needs is missing.
        """
        if self.time.column not in columns:
            raise SourceError(where, f"column {self.time.column!r} (time) is missing; there are {_short(columns)}")
        found: dict[str, list[str]] = {}
        for name, column in self.channels.items():
            if column.column is not None:
                matching = [column.column] if column.column in columns else []
            else:
                pattern = re.compile(column.columns or "")
                numbered = {c: m[1] or "" for c in columns if (m := pattern.fullmatch(c))}
                wrong = next((c for c, number in numbered.items() if not number.isdecimal()), None)
                if wrong is not None:
                    raise SourceError(where, f"column {wrong!r} ({name}): {numbered[wrong]!r} is no element's number")
                matching = sorted(numbered, key=lambda c: int(numbered[c]))
            if matching:
                found[name] = matching
            elif not column.optional:
                needed = column.column or column.columns
                raise SourceError(where, f"column {needed!r} ({name}) is missing; there are {_short(columns)}")
        for name in (self.time.column, *(c for matching in found.values() for c in matching)):
            if columns.count(name) > 1:
                raise SourceError(where, f"column {name!r} is there {columns.count(name)} times")
        if not found:
            raise SourceError(where, f"no column of the map was found; there are {_short(columns)}")
        return found


def _short(columns: Iterable[str]) -> str:
    names = list(columns)
    return ", ".join(map(repr, names[:12])) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def load_map(path: Path) -> ColumnMap:
    """Read a map. Raises ConfigError naming file and key."""
    try:
        return ColumnMap.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(str(path), ".".join(map(str, first["loc"])) or "file", first["msg"]) from None


@cache
def shipped_maps() -> dict[str, ColumnMap]:
    return {path.stem: load_map(path) for path in sorted(SHIPPED.glob("*.yaml"))}
