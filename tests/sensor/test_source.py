"""Finding a live source by its name."""

import sys

import pytest

from services.bus.errors import ConfigError
from services.sensor.settings import SensorSettings
from services.sensor.source import open_source


def test_a_source_whose_drivers_are_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("services.sensor.pi.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "adafruit_ads1x15.ads1115", None)
    with pytest.raises(ConfigError, match=r"source pi: needs the Python package .* pip install 'emberwatch\[pi\]'"):
        open_source("pi", None, SensorSettings.model_construct())
