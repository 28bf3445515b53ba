"""The makes of BMS that aiobmsble reads: its plugins `aiobmsble.bms.<make>_bms`."""

import asyncio
import pkgutil
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from services.bus.errors import ConfigError
from services.sensor.bms.config import AUTO, BmsConfig, Pack
from services.sensor.bms.faults import PackFailed

if TYPE_CHECKING:
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData

SUFFIX: Final = "_bms"
NO_MAKE: Final = "dummy"  # a template for writers of plugins


@cache
def makes() -> tuple[str, ...]:
    """Raises ModuleNotFoundError: aiobmsble is not installed."""
    found = (module.name for module in pkgutil.iter_modules(import_module("aiobmsble.bms").__path__))
    names = (name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))
    return tuple(sorted(name for name in names if name != NO_MAKE))


def plugin(make: str) -> Any:
    """The class of a make (aiobmsble.basebms.BaseBMS)."""
    return import_module(f"aiobmsble.bms.{make}{SUFFIX}").BMS


def make_of(bms: Any) -> str:
    """The make of a plugin's class or object."""
    module: str = bms.get_bms_module()
    return module.rpartition(".")[2].removesuffix(SUFFIX)


def check(config: BmsConfig, where: str) -> None:
    """Raises ConfigError: a make that is none, or a secret that the make does not take."""
    for name, pack in config.packs.items():
        if pack.make == AUTO:
            continue
        if pack.make not in makes():
            raise ConfigError(where, f"packs.{name}.make", f"{pack.make!r} is not among auto, {', '.join(makes())}")
        if pack.secret is not None and not plugin(pack.make).accept_secret:
            raise ConfigError(where, f"packs.{name}.secret", f"{pack.make} takes none")


async def identify(advertisement: "AdvertisementData", address: str) -> tuple[str, ...]:
    """The makes that advertise so. More than one: it cannot be told (aiobmsble's own search would take any of them)."""
    return await asyncio.to_thread(_matching, advertisement, address)


def _matching(advertisement: "AdvertisementData", address: str) -> tuple[str, ...]:
    supported = import_module("aiobmsble.utils").bms_supported
    return tuple(make for make in makes() if supported(plugin(make), advertisement, address))


async def open_bms(pack: Pack, device: "BLEDevice", advertisement: "AdvertisementData") -> Any:
    """The plugin's object, not connected yet. Raises PackFailed: unknown make."""
    make = pack.make
    if make == AUTO:
        found = await identify(advertisement, pack.address)
        if len(found) != 1:
            may_be = f"; it may be {', '.join(found)}" if found else ""
            raise PackFailed("unknown_make", f"it calls itself {advertisement.local_name!r}{may_be}")
        make = found[0]
    kind = await asyncio.to_thread(plugin, make)  # in a thread: reading a plugin from a card takes its time
    config = import_module("aiobmsble").BMSConfig(keep_alive=True, secret=pack.secret or "")
    return kind(device, config)
