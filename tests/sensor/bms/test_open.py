"""What stands in the way of the source is said when it is opened."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from services.bus.errors import ConfigError
from services.sensor.bms.source import check_python
from services.sensor.settings import SensorSettings
from services.sensor.source import open_source

GOOD = "packs: {pack-1: {address: A4:C1:38:00:00:01, make: jbd, cells: 4, probes: 2}}"
SENTENCE = r"source bms: needs Python 3.12 or later \(Raspberry Pi OS 13, Debian 13\); this is Python 3.11"


def written(tmp_path: Path, text: str = GOOD) -> Path:
    path = tmp_path / "bms.yaml"
    path.write_text(text)
    return path


def settings(path: Path) -> SensorSettings:
    return SensorSettings(source=("bms",), bms=path, data_dir=path.parent)


def test_a_python_that_is_too_old() -> None:
    with pytest.raises(ConfigError, match=SENTENCE):
        check_python((3, 11))
    check_python((3, 12))
    check_python((3, 13))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="aiobmsble can be installed on this Python")
def test_on_debian_12_the_service_says_what_it_needs(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(ConfigError, match=SENTENCE):
        open_source("bms", path, settings(path))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="aiobmsble needs Python 3.12 or later")
def test_a_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "aiobmsble"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    from services.sensor.bms import makes

    makes.makes.cache_clear()
    path = written(tmp_path)
    with pytest.raises(ConfigError, match=r"needs the Python package 'aiobmsble': pip install 'emberwatch\[bms\]'"):
        open_source("bms", path, settings(path))


def test_a_file_that_is_wrong_is_told_before_anything_else(tmp_path: Path) -> None:
    path = written(tmp_path, "packs: {}")
    with pytest.raises(ConfigError, match=r"bms.yaml: packs: "):
        open_source("bms", path, settings(path))


@pytest.mark.skipif(find_spec("aiobmsble") is None, reason="aiobmsble needs Python 3.12 or later")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("jbd", "xiaoxiang"), r"packs.pack-1.make: 'xiaoxiang' is not among auto, abc, .*jbd"),
        (GOOD.replace("jbd", "dummy"), r"packs.pack-1.make: 'dummy' is not among auto, "),
        (GOOD.replace("make: jbd", "make: daly, secret: '1'"), r"packs.pack-1.secret: daly takes none"),
    ],
)
def test_a_make_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=message):
        open_source("bms", path, settings(path))


@pytest.mark.skipif(find_spec("aiobmsble") is None, reason="aiobmsble needs Python 3.12 or later")
def test_its_devices(tmp_path: Path) -> None:
    path = written(tmp_path)
    (device,) = open_source("bms", path, settings(path)).devices.values()
    assert device.profile == "battery"
    assert dict(device.channels) == {
        "voltage": None,
        "current": None,
        "soc": None,
        "cell_voltages": 4,
        "temperatures": 2,
    }


@pytest.mark.skipif(find_spec("aiobmsble") is None, reason="aiobmsble needs Python 3.12 or later")
async def test_known_advertisements_tell_their_make() -> None:
    """All that aiobmsble has collected from its users."""
    from aiobmsble.test_data import bms_advertisements, ignore_advertisements

    from services.sensor.bms.makes import identify

    doubtful = []
    for advertisement, address, kind, _ in bms_advertisements():
        found = await identify(advertisement, address)
        assert kind.removesuffix("_bms") in found, advertisement
        doubtful += [found] if len(found) > 1 else []
    assert doubtful == []
    for advertisement, address, *_ in ignore_advertisements():
        assert await identify(advertisement, address) == ()
