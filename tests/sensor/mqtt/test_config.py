"""What a wrong YAML of the `mqtt` source says: file, key and rule."""

from pathlib import Path

import pytest

from services.bus.errors import ConfigError
from services.bus.profiles import load_profile
from services.sensor.mqtt.config import load_config, load_map, shipped_maps

GOOD = """
brokers: {home: {host: 192.168.1.10}}
devices: {pack-1: {broker: home, map: battery-emulator, values: {name: BE}}}
"""


def test_the_shipped_maps_name_channels_of_their_profile() -> None:
    assert set(shipped_maps()) == {"battery-emulator", "venus-serialbattery"}
    for topic_map in shipped_maps().values():
        known = load_profile(topic_map.profile).by_name
        assert {c.partition("[")[0] for channels in topic_map.topics.values() for c in channels} <= set(known)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("host: 192.168.1.10", "host: 192.168.1.10, port: 70000"), "brokers.home.port: Input should be less"),
        (("broker: home", "broker: hom"), "devices.pack-1.broker: 'hom' is not among home"),
        (("pack-1:", "pack/1:"), "device"),
        (("map:", "mop:"), "devices.pack-1.map: Field required"),
        (("devices:", "devises:"), "devices: Field required"),
        (("brokers: {home", "brokers: [home"), "file"),
    ],
)
def test_a_wrong_file(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = tmp_path / "mqtt.yaml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        ("{'a/#': {voltage: {}}}", "wildcards are not allowed"),
        ("{a: {Voltage: {}}}", "'Voltage' is no channel"),
        ("{a: {'cell_voltages[]': {}}}", "goes with {cell} in the topic"),
        ("{a: {voltage: {path: 'a..b'}}}", "expected names and [numbers]"),
    ],
)
def test_a_wrong_map(tmp_path: Path, topics: str, said: str) -> None:
    (tmp_path / "own.yaml").write_text(f"{{title: t, source: s, period_s: 1, max_age_s: 3, topics: {topics}}}")
    with pytest.raises(ConfigError) as caught:
        load_map("own.yaml", tmp_path)
    assert said in str(caught.value)


def test_a_map_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no shipped map \(there are battery-emulator, venus-serialbattery\)"):
        load_map("daly", tmp_path)
