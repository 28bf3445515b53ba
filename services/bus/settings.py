"""Settings: environment variables `EMBERWATCH_<FIELD>` over one YAML file over defaults.

The file is named by EMBERWATCH_CONFIG and has one section a service plus `bus`, which all share:

    bus: {node: pi-cellar, broker_port: 1883}
    alert: {rules: /etc/emberwatch/rules}

A wrong value, or a key that no field has, stops the start with an error that names the file (or variable) and the key.
"""

import os
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.bus.errors import ConfigError
from services.bus.topics import check_name

ROOT = Path(__file__).resolve().parents[2]
"""Where profiles/, rules/, bundles/ and mosquitto/ stand: the checkout, or site-packages of an installed wheel."""

PREFIX = "EMBERWATCH_"
SECTIONS = ("bus", "sensor", "inference", "alert", "ingest", "dashboard", "up")
S = TypeVar("S", bound="BusSettings")


class BusSettings(BaseSettings):
    """What every service needs to reach its broker and to keep its files."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")
    section: ClassVar[str] = "bus"

    node: str = Field("pi", title="Node", description="Name of this computer in topics; unique in the fleet.")
    data_dir: Path = Field(Path("data"), title="Data folder", description="Journals and states are kept here.")
    broker_host: str = Field("127.0.0.1", title="Broker", description="Address of the MQTT broker; an IP on the edge.")
    broker_port: int = Field(1883, ge=1, le=65535, title="Broker port", description="TCP port of the MQTT broker.")
    broker_username: str | None = Field(None, title="User name", description="MQTT user name; none = anonymous.")
    broker_password: str | None = Field(None, title="Password", description="MQTT password.", repr=False)
    broker_ca: Path | None = Field(None, title="CA file", description="Certificate authority; set = TLS.")
    heartbeat_s: float = Field(5.0, gt=0, title="Heartbeat", description="Time between status messages [s].")
    session_expiry_s: int = Field(7 * 86_400, ge=0, title="Session expiry", description="Broker keeps our session [s].")
    receive_maximum: int = Field(2000, ge=1, le=65_535, title="Receive maximum", description="Unacknowledged, at most.")
    reconnect_max_s: float = Field(2.0, gt=0, title="Reconnect", description="Longest pause between two attempts [s].")
    journal_group_s: float = Field(30.0, gt=0, title="Group", description="Most that a power cut can take [s].")
    tail_dir: Path | None = Field(
        None,
        title="Tail folder",
        description="In memory (/run): what the next group takes, safe from a kill; none = beside the journal.",
    )
    journal_bytes: int = Field(
        512 * 2**20, ge=2**20, title="Journal size", description="The outbox's ring drops the oldest beyond it [bytes]."
    )
    journal_days: float = Field(30.0, gt=0, title="Journal age", description="The ring drops what is older [days].")

    @field_validator("node")
    @classmethod
    def _node_name(cls, value: str) -> str:
        return check_name("node", value)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read file and environment. Raises ConfigError naming the file or variable, the key and the reason."""
        path = os.environ.get(f"{PREFIX}CONFIG")
        from_file = _read_section(Path(path), cls) if path else {}
        from_environment = {
            name for name in cls.model_fields if any(k.upper() == f"{PREFIX}{name}".upper() for k in os.environ)
        }
        values = {k: v for k, v in from_file.items() if k not in from_environment} | overrides
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0]) if first["loc"] else "settings"
            where = path if name in values and path and name not in overrides else f"{PREFIX}{name.upper()}"
            key = ".".join(str(part) for part in first["loc"]) or name
            raise ConfigError(str(where), key, first["msg"]) from None


def _read_section(path: Path, settings: type[BusSettings]) -> dict[str, Any]:
    content = read_yaml(path)
    if content is None:  # empty, or only comments
        return {}
    if not isinstance(content, dict):
        raise ConfigError(str(path), "file", "expected sections such as `bus:` and `sensor:`")
    for section in content:
        if section not in SECTIONS:
            raise ConfigError(str(path), str(section), f"unknown section; known are {', '.join(SECTIONS)}")
    values: dict[str, Any] = {}
    for section in dict.fromkeys(("bus", settings.section)):  # the service's own section has the last word
        part = content.get(section) or {}
        if not isinstance(part, dict):
            raise ConfigError(str(path), section, "expected keys and values")
        fields = BusSettings.model_fields if section == "bus" else settings.model_fields
        for key in part:
            if key not in fields:
                raise ConfigError(str(path), f"{section}.{key}", f"unknown; known are {', '.join(sorted(fields))}")
        values |= part
    return values


def read_yaml(path: Path) -> Any:
    """Read a YAML file. Raises ConfigError naming the file and the line."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), "file", error.strerror or str(error)) from None
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError, TypeError) as error:
        # PyYAML lets through what int() and date() raise at a wrong value, and a nesting too deep for it
        raise ConfigError(str(path), "file", " ".join(str(error).split())) from None
