"""The map of the wiring: what is wrong in it is named by file and key, and the shipped example is right."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.bus.errors import ConfigError
from services.bus.settings import ROOT
from services.sensor.pi.map import Ads1115, Analog, Divider, load_map
from services.sensor.pi.scaling import PinFault, check_pin, to_reading
from services.sensor.pi.source import open_source
from services.sensor.settings import SensorSettings
from tests.sensor.pi.bench import wiring

PACK = ("devices", "pack-1", "channels")


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "pi.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def changed(*keys: str | int, value: Any) -> dict[str, Any]:
    content: Any = deepcopy(wiring())
    at = content
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    return content  # type: ignore[no-any-return]


def test_the_shipped_example_is_right_and_every_key_is_in_it(tmp_path: Path) -> None:
    text = (ROOT / "deploy/pi/pi.yaml").read_text()
    path = written(tmp_path, text)
    source = open_source(path, SensorSettings.model_construct())
    assert {name: device.profile for name, device in source.devices.items()} == {"pack-1": "battery"}
    for model in (Analog, Ads1115):
        for key in set(model.model_fields) - {"kind"}:
            assert f"{key}:" in text, key


def test_numbers_may_be_written_as_on_the_part(tmp_path: Path) -> None:
    wired = load_map(written(tmp_path, changed(*PACK, "voltage", "divider", value={"top": "1M", "bottom": "4.7k"})))
    given = dict(wired.devices["pack-1"].inputs())["voltage"]
    assert isinstance(given, Analog)
    assert given.divider == Divider(top=1e6, bottom=4700)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("chips", "adc-1", "address"), 0x4C, r"chips\.adc-1\.ads1115\.address: .*less than or equal to 75"),
        (("chips", "adc-1", "address"), 0x49, r"chips\.adc-2\.address: 0x49 is adc-1's already"),
        (("chips", "adc-1", "kind"), "ads9", r"chips\.adc-1: .*'ads1115', 'ina219', 'ina226'"),
        (("chips", "adc-1", "data_rate"), 100, r"chips\.adc-1\.ads1115\.data_rate: "),
        (("chips", "meter", "shunt_ohm"), "1 milli", r"chips\.meter\.ina226\.shunt_ohm: .*expected a number such as"),
        (("chips", "meter", "shunt_ohm"), 0, r"chips\.meter\.ina226\.shunt_ohm: "),
        (("probes", "top", "id"), "28-12", r"probes\.top\.id: "),
        (("probes", "top", "id"), "28-0000012345cd", r"probes\.bottom\.id: 28-0000012345cd is top's already"),
        (("probes", "top", "warms_with"), ["middle"], r"probes\.top\.warms_with: 'middle' is no other probe"),
        (("probes", "top", "resolution"), 13, r"probes\.top\.resolution: "),
        ((*PACK, "voltage", "pin"), 4, r"devices\.pack-1\.channels\.voltage\.pin: "),
        ((*PACK, "voltage", "pins"), [0, 1], r"channels\.voltage: .*either `pin` or `pins`"),
        ((*PACK, "voltage", "gain"), 3, r"channels\.voltage\.gain: .*none of auto, 2/3"),
        ((*PACK, "voltage", "chip"), "adc-9", r"channels\.voltage\.chip: 'adc-9' is none of adc-1, adc-2, meter"),
        ((*PACK, "voltage", "chip"), "meter", r"channels\.voltage\.chip: meter is an ina226: it has no pins"),
        ((*PACK, "voltage", "shunt"), {"ohm": 0.1}, r"channels\.voltage: gives A, the channel is in V"),
        ((*PACK, "voltage", "noise_volt"), 0.1, r"channels\.voltage: .*needs `samples` of 2"),
        ((*PACK, "voltage", "spike_filter"), True, r"channels\.voltage\.spike_filter: Extra inputs"),
        ((*PACK, "voltage"), [{"chip": "adc-1", "pin": 0}], r"channels\.voltage: is a scalar: expected one input"),
        ((*PACK, "temperatures"), {"probe": "top"}, r"channels\.temperatures: is a vector: expected a list"),
        ((*PACK, "temperatures"), [], r"channels\.temperatures: "),
        ((*PACK, "temperatures", 1), {"probe": "middle"}, r"temperatures\[1\]\.probe: 'middle' is none of top, bottom"),
        (
            (*PACK, "temperatures", 1),
            {"chip": "adc-1", "pin": 3},
            r"temperatures\[1\]: gives V, the channel is in degC",
        ),
        (
            (*PACK, "current"),
            {"chip": "adc-1", "measure": "current"},
            r"current\.chip: adc-1 is an ads1115: it has pins",
        ),
        ((*PACK, "current"), {"chip": "adc-1", "pin": 3}, r"current: gives V, the channel is in A: it needs a shunt"),
        ((*PACK, "current"), {"chip": "adc-1", "pins": [1, 2]}, r"channels\.current: .*an ADS1115 can take \(0, 1\)"),
        ((*PACK, "pressure"), {"chip": "adc-1", "pin": 3}, r"channels\.pressure: profile battery has voltage, "),
        (("devices", "pack-1", "profile"), "fusion", r"devices\.pack-1\.profile: .*fusion\.yaml"),
        (("devices", "pack-1", "period_s"), 0, r"devices\.pack-1\.period_s: "),
        (("devices", "pack-1", "rest"), {"period_s": 30}, r"devices\.pack-1\.rest\.period_s: "),
        (("devices", "pack-1", "rest"), {"period_s": 0.05}, r"devices\.pack-1\.rest: period_s: at rest rows come more"),
        (("devices", "node"), {"channels": {}}, r"devices\.node\.\[key\]: .*reserved"),
        (("devices",), {}, r"devices: "),
        (("i2c",), {"bus": -1}, r"i2c\.bus: "),
        (("colour",), "red", r"colour: Extra inputs"),
    ],
)
def test_a_wrong_value_names_its_key(tmp_path: Path, keys: tuple[str | int, ...], value: Any, message: str) -> None:
    path = written(tmp_path, changed(*keys, value=value))
    with pytest.raises(ConfigError, match=rf"pi\.yaml: .*{message}"):
        load_map(path)


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "7"])
def test_what_is_no_map_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"pi\.yaml: "):
        load_map(written(tmp_path, text))


yaml_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 99)
    | st.floats(allow_nan=True)
    | st.sampled_from(["auto", "adc-1", "1m"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["chip", "pin", "pins", "probe", "measure", "divider", "top", "kind"]), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        [
            ("chips", "adc-1"),
            ("probes", "top"),
            (*PACK, "voltage"),
            (*PACK, "temperatures"),
            ("devices", "pack-1"),
            ("w1",),
        ]
    ),
    yaml_values,
)
def test_whatever_stands_in_it_is_read_or_refused_by_name(tmp_path: Path, keys: tuple[str, ...], value: Any) -> None:
    content = wiring(w1={})
    at: Any = content
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    try:
        load_map(written(tmp_path, content))
    except ConfigError as error:
        assert str(error).startswith(str(tmp_path / "pi.yaml"))  # noqa: PT017 - either outcome is right


@given(st.floats(-0.09, 3.1), st.floats(100, 1e6), st.floats(100, 1e6), st.booleans())
def test_scaling_is_a_straight_line_that_its_parts_describe(
    volt: float, top: float, bottom: float, invert: bool
) -> None:
    given_ = Analog(chip="a", pin=0, divider=Divider(top=top, bottom=bottom), invert=invert)
    sign = -1 if invert else 1
    assert to_reading(volt, given_) == pytest.approx(sign * volt * (top + bottom) / bottom)


@given(st.floats(-5, 10))
def test_a_pin_is_a_reading_or_a_named_fault(volt: float) -> None:
    chip = Ads1115(kind="ads1115")
    given_ = Analog(chip="a", pin=0, divider=Divider(top=1e4, bottom=1e4))
    try:
        check_pin(volt, given_, chip)
    except PinFault as fault:
        limits = {"saturated": volt >= 3.201, "reversed": volt <= -0.1, "open": -0.1 < volt < 0.01}
        assert limits[fault.reason]  # noqa: PT017 - either outcome is right
    else:
        assert 0.01 <= volt < 3.201
