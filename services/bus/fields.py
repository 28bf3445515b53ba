"""The types of which messages are made: times, identities, names, qualities."""

import secrets
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    StringConstraints,
)


def format_time(time: datetime) -> str:
    """ISO 8601 UTC with milliseconds and a Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def _utc(time: datetime) -> datetime:
    if not 1900 <= time.year < 3000:  # also: an offset could carry it out of what a computer can hold
        raise ValueError("a year that no clock shows")
    return time.astimezone(UTC)


Time = Annotated[AwareDatetime, AfterValidator(_utc), PlainSerializer(format_time, return_type=str, when_used="json")]
Boot = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Number = Annotated[float, Strict()]  # "3.7" and true are no numbers
Count = Annotated[int, Field(ge=0, lt=2**53, strict=True)]  # what a JSON number holds exactly, everywhere
Seq = Count
Channel = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\[\d+\])?$", max_length=64)]
TimeSource = Literal["ntp", "rtc", "peer", "none"]
Quality = Annotated[str, StringConstraints(pattern=r"^(suspect|estimated|range|fault:[a-z0-9_]+)$", max_length=40)]
Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("low", "medium", "high", "critical")  # ascending
Value = Number | None
Values = Number | None | list[Number | None]


def new_boot() -> str:
    """Draw the identity of a process start: 16 hex digits."""
    return secrets.token_hex(8)


class Model(BaseModel):
    """Base of all messages: unknown fields are ignored (a newer sender may add some), NaN and Infinity refused."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())
