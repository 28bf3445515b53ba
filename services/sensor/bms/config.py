"""The file of the `bms` source: which packs, by Bluetooth address.

    adapter: hci0                      # default: the first that is powered
    packs:
      pack-1:                          # the device's name
        address: "A4:C1:38:01:02:03"
        make: jbd                      # a plugin of aiobmsble, or auto: by what it advertises
        cells: 16
        probes: 3

`emberwatch doctor --bms` lists the packs in range in this form.
"""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from services.bus.errors import ConfigError
from services.bus.settings import read_yaml
from services.bus.topics import NODE_DEVICE, check_name

AUTO: Final = "auto"
SCALARS: Final = ("voltage", "current", "soc")
LEAST_PERIOD_S: Final = 0.5  # the quickest makes answer in some tenths of a second
LEAST_VISIT_S: Final = 20.0  # to find, connect, read and let go

Scalar = Literal["voltage", "current", "soc"]


def _address(value: object) -> object:
    if isinstance(value, int):
        raise ValueError("write it in quotes: YAML reads 10:20:30:40:50:55 as a number")
    return value.upper().replace("-", ":") if isinstance(value, str) else value


def _once(value: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    if len(set(value)) != len(value):
        raise ValueError("names a channel twice")
    return value


Address = Annotated[str, BeforeValidator(_address), Field(pattern=r"^([0-9A-F]{2}:){5}[0-9A-F]{2}$")]


class Pack(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    address: Address = Field(description="As `emberwatch doctor --bms` and `bluetoothctl` show it.")
    make: str = Field(AUTO, pattern=r"^[a-z0-9_]+$", description="Plugin of aiobmsble without `_bms`; `auto`.")
    cells: int = Field(ge=0, le=512, description="Cell voltages that it tells; 0 = none.")
    probes: int = Field(
        ge=0, le=64, description="Temperatures of cells that it tells, not those of its board; 0 = none."
    )
    channels: Annotated[tuple[Scalar, ...], AfterValidator(_once)] = Field(
        SCALARS, min_length=1, description="Which of these it tells."
    )
    period_s: float = Field(2.0, ge=LEAST_PERIOD_S, le=300, description="A row each so many seconds.")
    secret: str | None = Field(None, min_length=1, repr=False, description="Password or PIN of its own protocol.")
    stay_connected: bool = Field(True, description="false: let go after each reading, so that a phone's app gets in.")
    invert_current: bool = Field(False, description="It is wired so that discharging reads positive.")

    @model_validator(mode="after")
    def _visits(self) -> "Pack":
        if not self.stay_connected and self.period_s < LEAST_VISIT_S:
            raise ValueError(f"stay_connected: false needs a period_s of at least {LEAST_VISIT_S:g}, to connect anew")
        return self


class BmsConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter: str | None = Field(None, pattern=r"^hci\d+$", description="Which radio; none = the first that is powered.")
    packs: dict[str, Pack] = Field(min_length=1)

    @model_validator(mode="after")
    def _named(self) -> "BmsConfig":
        owners: dict[str, str] = {}
        for name, pack in self.packs.items():
            check_name("device", name)
            if name == NODE_DEVICE:
                raise ValueError(f"packs.{name}: {NODE_DEVICE!r} is reserved for the node itself")
            if owners.setdefault(pack.address, name) != name:
                raise ValueError(f"packs.{name}: {pack.address} is {owners[pack.address]} already")
        return self


def load_config(path: Path) -> BmsConfig:
    """Raises ConfigError naming the file, the key and the rule."""
    try:
        return BmsConfig.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(str(path), ".".join(map(str, first["loc"])) or "file", first["msg"]) from None
