"""Settings: the environment over the file over the defaults; errors name file or variable, and key."""

from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from services.bus.errors import ConfigError
from services.bus.settings import BusSettings, read_yaml


class Own(BusSettings):
    """A service's settings."""

    section: ClassVar[str] = "alert"
    delay_s: float = Field(1.0, gt=0)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "NODE", "BROKER_PORT", "DELAY_S", "DATA_DIR"):
        monkeypatch.delenv(f"EMBERWATCH_{name}", raising=False)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBERWATCH_CONFIG", str(tmp_path / "emberwatch.yaml"))
    return tmp_path / "emberwatch.yaml"


def refusal() -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Own.load()
    return caught.value


def test_environment_over_file_over_default(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("bus: {node: pi-cellar, broker_port: 1884}\nalert: {delay_s: 2}\nsensor: {anything: goes}\n")
    monkeypatch.setenv("EMBERWATCH_BROKER_PORT", "1885")
    loaded = Own.load()
    assert (loaded.node, loaded.broker_port, loaded.delay_s, loaded.broker_host) == ("pi-cellar", 1885, 2, "127.0.0.1")
    assert Own.load(broker_port=1).broker_port == 1


def test_the_service_section_has_the_last_word_over_the_shared_one(config: Path) -> None:
    config.write_text("alert: {node: special}\nbus: {node: shared}\n")
    assert Own.load().node == "special"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "alert:\n"])
def test_an_empty_file_or_section_says_nothing(config: Path, text: str) -> None:
    config.write_text(text)
    assert Own.load() == Own()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("bus: {broker_port: eighteen}", "broker_port"),
        ("bus: {broker_port: 70000}", "broker_port"),
        ("bus: {node: 'Pi cellar'}", "node"),
        ("alert: {delay_s: -1}", "delay_s"),
        ("alert: {delays: 1}", "alert.delays"),
        ("bus: {delay_s: 1}", "bus.delay_s"),
        ("alert: [1]", "alert"),
        ("alarm: {delay_s: 1}", "alarm"),
        ("[1, 2]", "file"),
        ("bus: {node: [", "file"),
    ],
)
def test_a_wrong_file_is_refused_by_file_and_key(config: Path, text: str, key: str) -> None:
    config.write_text(text)
    error = refusal()
    assert (error.where, error.key) == (str(config), key)
    assert str(error).startswith(f"{config}: {key}: ")


def test_broken_yaml_is_refused_by_line(config: Path) -> None:
    config.write_text("bus:\n  node: a\n broker_port: 1\n")
    assert "line 3" in refusal().reason


def test_a_missing_file_is_named(config: Path) -> None:
    assert refusal().where == str(config)
    assert "No such file" in refusal().reason


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"x\.yaml: file: "):
        read_yaml(tmp_path / "x.yaml")


def test_a_wrong_variable_is_refused_by_name(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("bus: {broker_port: 1884}")
    monkeypatch.setenv("EMBERWATCH_BROKER_PORT", "0")
    error = refusal()
    assert (error.where, error.key) == ("EMBERWATCH_BROKER_PORT", "broker_port")


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4)
)
KEYS = st.sampled_from(["bus", "alert", *Own.model_fields])
TREES = st.recursive(
    SCALARS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(KEYS | SCALARS, part, max_size=4),
    max_leaves=15,
)
SECTION = st.dictionaries(KEYS, TREES, max_size=4) | TREES


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREES | st.fixed_dictionaries({}, optional={"bus": SECTION, "alert": SECTION}))
def test_any_structure_is_settings_or_is_refused(config: Path, content: Any) -> None:
    config.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    with suppress(ConfigError):
        assert isinstance(Own.load(), Own)


@pytest.mark.parametrize(
    "text",
    [
        "bus: {node: 2001-99-99}",
        "[" * 5000,
        "bus: &a {node: *a}",
        "bus: {? [a] : b}",
        "bus: !!int x",
        "bus: !!bool x",
        "bus: !!timestamp x",
    ],
)
def test_what_the_yaml_reader_stumbles_over_is_refused_by_file(config: Path, text: str) -> None:
    config.write_text(text, encoding="utf-8")
    assert refusal().where == str(config)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(BusSettings(broker_password="secret"))


def test_each_setting_is_described() -> None:
    for name, field in BusSettings.model_fields.items():
        assert field.title, name
        assert field.description, name
