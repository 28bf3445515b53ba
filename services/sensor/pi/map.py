"""The wiring of a Pi: chips, probes, and which of them is which channel of which device. YAML, checked whole at start.

deploy/pi/pi.yaml is an example with every key; docs/hardware/sensors.md explains them.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from services.bus.errors import ConfigError
from services.bus.profiles import Profile, load_profile
from services.bus.settings import read_yaml
from services.bus.topics import NODE_DEVICE, check_name
from services.sensor.resting import Rest

DIFFERENTIAL: Final = ((0, 1), (0, 3), (1, 3), (2, 3))  # pairs that an ADS1115 can select
GAINS: Final = (2 / 3, 1.0, 2.0, 4.0, 8.0, 16.0)
FULL_SCALE: Final = dict(zip(GAINS, (6.144, 4.096, 2.048, 1.024, 0.512, 0.256), strict=True))  # V
TAGS: Final = ("one", "list", "analog", "meter", "thermometer")  # ours, in pydantic's place of an error
FIRST_TAG: Final = 4  # behind devices, name, channels, channel
_PREFIX: Final = {"": 1.0, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6}


def _quantity(value: Any) -> Any:
    """`100k`, `0.75m` or a number."""
    if isinstance(value, str):
        matched = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([umkM]?)\s*", value)
        if matched is None:
            raise ValueError(f"{value!r}: expected a number such as 4700, 4.7k or 0.75m")
        return float(matched[1]) * _PREFIX[matched[2]]
    return value


def _gain(value: Any) -> Any:
    if value in ("2/3", 0.67, 0.667):
        return 2 / 3
    if value != "auto" and value not in GAINS:
        raise ValueError(f"{value!r} is none of auto, 2/3, 1, 2, 4, 8, 16")
    return value


Ohm = Annotated[float, BeforeValidator(_quantity), Field(gt=0)]
Volt = Annotated[float, BeforeValidator(_quantity)]
Gain = Annotated[float | Literal["auto"], BeforeValidator(_gain)]
ProbeId = Annotated[str, Field(pattern=r"^(22|28|42)-[0-9a-f]{12}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Ads1115(_Model):
    """Analog-to-digital converter with four pins."""

    kind: Literal["ads1115"]
    address: int = Field(0x48, ge=0x48, le=0x4B)
    data_rate: Literal[8, 16, 32, 64, 128, 250, 475, 860] = Field(128, description="Conversions a second.")
    supply_volt: Volt = Field(3.3, gt=1.9, lt=5.6, description="VDD: no pin can truly read more [V].")


class Ina219(_Model):
    """Current and voltage on a shunt, 26 V."""

    kind: Literal["ina219"]
    address: int = Field(0x40, ge=0x40, le=0x4F)
    shunt_ohm: Ohm
    averages: Literal[1, 2, 4, 8, 16, 32, 64, 128] = 64


class Ina226(_Model):
    """Current and voltage on a shunt, 36 V."""

    kind: Literal["ina226"]
    address: int = Field(0x40, ge=0x40, le=0x4F)
    shunt_ohm: Ohm
    averages: Literal[1, 4, 16, 64, 128] = 16


Chip = Annotated[Ads1115 | Ina219 | Ina226, Field(discriminator="kind")]


class Probe(_Model):
    """A DS18B20 (or DS1822, DS28EA00) by its name under /sys/bus/w1/devices."""

    id: ProbeId
    resolution: Literal[9, 10, 11, 12] | None = Field(None, description="Bits: 94, 188, 375, 750 ms; none = w1's.")
    warms_with: tuple[str, ...] = Field(
        (), description="Probes beside it: if they move 5 K and it not at all, it is stuck."
    )


class Divider(_Model):
    """Two resistors: `top` to what is measured, `bottom` to ground (or to the other pin)."""

    top: Ohm
    bottom: Ohm

    @property
    def ratio(self) -> float:
        """What is measured over what the pin sees."""
        return (self.top + self.bottom) / self.bottom


class Shunt(_Model):
    """A resistor in the current's path."""

    ohm: Ohm


class Hall(_Model):
    """A current sensor with a voltage output."""

    volt_per_ampere: Volt = Field(gt=0)
    zero_volt: Volt = Field(description="Its output at 0 A [V].")


class Linear(_Model):
    """Any other sensor with a voltage output: value = volt * per_volt + offset, in the channel's unit."""

    per_volt: float
    offset: float = 0.0


class Analog(_Model):
    """A pin of an ADS1115, or the difference of two."""

    chip: str
    pin: int | None = Field(None, ge=0, le=3)
    pins: tuple[int, int] | None = Field(None, description="Difference first - second.")
    gain: Gain = "auto"
    samples: int = Field(1, ge=1, le=16, description="Conversions a reading; their mean is taken.")
    noise_volt: Volt | None = Field(None, gt=0, description="Conversions further apart than this are no reading [V].")
    divider: Divider | None = None
    shunt: Shunt | None = None
    hall: Hall | None = None
    linear: Linear | None = None
    invert: bool = False
    open_below_volt: Volt | None = Field(
        None, ge=0, description="A pin below this has no wire [V]; default 10 mV with a divider, 100 mV with a hall."
    )
    check_open: bool = Field(False, description="Shunt to ground: both pins must be near ground, else a wire is off.")

    @model_validator(mode="after")
    def _fits(self) -> "Analog":
        if (self.pin is None) == (self.pins is None):
            raise ValueError("give either `pin` or `pins`")
        if self.pins is not None and self.pins not in DIFFERENTIAL:
            raise ValueError(f"pins {list(self.pins)}: an ADS1115 can take {', '.join(map(str, DIFFERENTIAL))}")
        if sum(x is not None for x in (self.shunt, self.hall, self.linear)) > 1:
            raise ValueError("give one of `shunt`, `hall`, `linear`")
        if self.check_open and (self.shunt is None or self.pins is None):
            raise ValueError("check_open: is for a shunt between two pins")
        if self.noise_volt is not None and self.samples < 2:
            raise ValueError("noise_volt: needs `samples` of 2 or more")
        return self

    @property
    def unit(self) -> str | None:
        """Unit that it gives; None = whatever the channel has."""
        if self.linear is not None:
            return None
        return "A" if self.shunt is not None or self.hall is not None else "V"


class Meter(_Model):
    """Current or bus voltage of an INA219 or INA226."""

    chip: str
    measure: Literal["current", "voltage"]
    invert: bool = False
    open_below_volt: Volt = Field(
        0.01, ge=0, description="A bus voltage below this has no wire [V]; 0 = the load may be switched off."
    )

    @property
    def unit(self) -> str | None:
        return "A" if self.measure == "current" else "V"


class Thermometer(_Model):
    probe: str

    @property
    def unit(self) -> str | None:
        return "degC"


def _kind(value: Any) -> str:
    keys = value if isinstance(value, Mapping) else vars(value) if isinstance(value, _Model) else {}
    return "thermometer" if "probe" in keys else "meter" if "measure" in keys else "analog"


Input = Annotated[
    Annotated[Analog, Tag("analog")] | Annotated[Meter, Tag("meter")] | Annotated[Thermometer, Tag("thermometer")],
    Discriminator(_kind),
]
Inputs = Annotated[
    Annotated[Input, Tag("one")] | Annotated[tuple[Input, ...], Tag("list"), Field(min_length=1)],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "one"),
]


def _device(name: str) -> str:
    if name == NODE_DEVICE:
        raise ValueError(f"{name!r} is reserved for the node itself")
    return check_name("device", name)


class DeviceMap(_Model):
    profile: str = "battery"
    period_s: float | None = Field(None, gt=0.02, le=3600, description="Time between rows [s]; none = the profile's.")
    rest: Rest | None = Field(None, description="When it rests, and how seldom it is measured then; none = never.")
    channels: dict[str, Inputs] = Field(min_length=1)

    def inputs(self) -> Iterator[tuple[str, Analog | Meter | Thermometer]]:
        """(channel or element, input): `voltage`, `temperatures[0]`, .."""
        for name, given in self.channels.items():
            if isinstance(given, tuple):
                yield from ((f"{name}[{i}]", one) for i, one in enumerate(given))
            else:
                yield name, given


class I2c(_Model):
    bus: int = Field(1, ge=0, description="N of /dev/i2c-N.")


class W1(_Model):
    folder: Path = Path("/sys/bus/w1/devices")
    resolution: Literal[9, 10, 11, 12] = 12
    max_age_s: float | None = Field(
        None, gt=0, description="A temperature is good for this long [s]; none = worked out."
    )


class PiMap(_Model):
    i2c: I2c = I2c()
    w1: W1 = W1()
    calibration: Path | None = Field(None, description="File of `doctor --calibrate`; none = beside this one.")
    chips: dict[str, Chip] = Field(default_factory=dict)
    probes: dict[str, Probe] = Field(default_factory=dict)
    devices: dict[Annotated[str, AfterValidator(_device)], DeviceMap] = Field(min_length=1)

    def resolution(self, probe: str) -> int:
        return self.probes[probe].resolution or self.w1.resolution


def load_map(path: Path) -> PiMap:
    """Read the wiring. Raises ConfigError naming file and key."""
    try:
        found = PiMap.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        parts = [str(part) for at, part in enumerate(first["loc"]) if at < FIRST_TAG or part not in TAGS]
        key = ".".join(parts)
        raise ConfigError(str(path), key or "file", first["msg"]) from None
    for key, reason in _wrong(found):
        raise ConfigError(str(path), key, reason)
    return found


def _wrong(wiring: PiMap) -> Iterator[tuple[str, str]]:
    """What no single key shows: (key, reason)."""
    addresses: dict[int, str] = {}
    for name, chip in wiring.chips.items():
        if chip.address in addresses:
            yield f"chips.{name}.address", f"{chip.address:#04x} is {addresses[chip.address]}'s already"
        addresses[chip.address] = name
    ids: dict[str, str] = {}
    for name, probe in wiring.probes.items():
        if probe.id in ids:
            yield f"probes.{name}.id", f"{probe.id} is {ids[probe.id]}'s already"
        ids[probe.id] = name
        for other in probe.warms_with:
            if other not in wiring.probes or other == name:
                yield f"probes.{name}.warms_with", f"{other!r} is no other probe"
    for name, device in wiring.devices.items():
        key = f"devices.{name}"
        try:
            profile = load_profile(device.profile)
        except ConfigError as error:
            yield f"{key}.profile", str(error)
            return
        if (reason := _wrong_rest(device, profile)) is not None:
            yield f"{key}.rest", reason
        yield from _wrong_channels(wiring, device, profile, f"{key}.channels")


def _wrong_rest(device: DeviceMap, profile: Profile) -> str | None:
    if device.rest is None:
        return None
    if profile.name != "battery":
        return f"is for batteries; this is a {profile.name}"
    if device.rest.period_s < (device.period_s or profile.period_s):
        return "period_s: at rest rows come more seldom, not more often"
    units = {profile.by_name[name].unit for name in device.channels if name in profile.by_name}
    return None if {"A", "V"} & units else "needs a current or a voltage to tell a rest by"


def _wrong_channels(wiring: PiMap, device: DeviceMap, profile: Profile, where: str) -> Iterator[tuple[str, str]]:
    for name, given in device.channels.items():
        channel = profile.by_name.get(name)
        if channel is None:
            yield f"{where}.{name}", f"profile {profile.name} has {', '.join(profile.by_name)}"
            return
        if isinstance(given, tuple) != (channel.kind == "vector"):
            yield (
                f"{where}.{name}",
                f"is a {channel.kind}: expected {'a list' if channel.kind == 'vector' else 'one input'}",
            )
    for name, one in device.inputs():
        channel = profile.by_name[name.partition("[")[0]]
        key = f"{where}.{name}"
        if one.unit not in (None, channel.unit):
            need = {"A": "a shunt, a hall sensor or a meter's current", "degC": "a probe"}.get(
                channel.unit, "a voltage"
            )
            yield key, f"gives {one.unit}, the channel is in {channel.unit}: it needs {need}"
        if isinstance(one, Thermometer):
            if one.probe not in wiring.probes:
                yield f"{key}.probe", f"{one.probe!r} is none of {', '.join(wiring.probes) or 'no probes'}"
            continue
        chip = wiring.chips.get(one.chip)
        if chip is None:
            yield f"{key}.chip", f"{one.chip!r} is none of {', '.join(wiring.chips) or 'no chips'}"
        elif isinstance(one, Analog) != isinstance(chip, Ads1115):
            yield (
                f"{key}.chip",
                f"{one.chip} is an {chip.kind}: "
                + (
                    "it has no pins; give `measure`" if isinstance(one, Analog) else "it has pins; give `pin` or `pins`"
                ),
            )
