"""Configurations: `training/configs/<name>.yaml` of a bundle, `training/configs/studies/<name>.yaml` of a study.

A bundle's file says `trainer` (a module of training/trainers/), `data` and `out` (defaults of --data and --out, from
the checkout); all other keys are fields of that trainer's `Config`. A study's file has the fields of its own `Config`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.bus.errors import ConfigError
from services.bus.settings import ROOT, read_yaml

CONFIGS: Final = ROOT / "training" / "configs"
STUDIES: Final = CONFIGS / "studies"
M = TypeVar("M", bound=BaseModel)


class Head(BaseModel):
    """What every bundle's configuration says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trainer: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Module of training/trainers/.")
    data: Path = Field(description="Folder of the data, when --data does not name one.")
    out: Path = Field(description="Folder of the bundle, when --out does not name one.")


@dataclass(frozen=True, slots=True)
class Plan:
    """A bundle's configuration, its trainer found and its fields checked."""

    head: Head
    module: ModuleType
    config: Any  # of the module's own class Config


def load_plan(name: str, changes: Sequence[str] = ()) -> Plan:
    """Read a bundle's configuration.

    Args:
        name: of a file in training/configs, or a path ending in .yaml.
        changes: `KEY=VALUE`, over what the file says; values are YAML.
    Raises:
        ConfigError: naming file and key.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONFIGS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
        raise ConfigError(str(path), "file", f"is not there; there are {known}")
    content = merge(_fields(path), parse_changes(changes))
    head = check(Head, {key: content.pop(key) for key in Head.model_fields if key in content}, path)
    module = find("trainers", head.trainer, path)
    return Plan(head, module, check(module.Config, content, path))


def study_config(name: str, module: ModuleType, changes: Sequence[str] = ()) -> Any:
    """The configuration of a study: its file, or the defaults of its `Config`. Raises ConfigError."""
    path = STUDIES / f"{name}.yaml"
    return check(module.Config, merge(_fields(path) if path.exists() else {}, parse_changes(changes)), path)


def find(folder: str, name: str, where: Path | str) -> ModuleType:
    """Import training.<folder>.<name>. Raises ConfigError when there is no such module."""
    wanted = f"training.{folder}.{name}"
    try:
        return import_module(wanted)
    except ModuleNotFoundError as error:
        if error.name != wanted and not (error.name or "").startswith("training"):
            raise ConfigError(str(where), name, f"needs the Python package {error.name!r}") from None
        known = ", ".join(names(folder))
        raise ConfigError(str(where), name, f"{wanted} is not there; there are {known}") from None


def names(folder: str) -> list[str]:
    """Modules of a folder of training/, by convention one a choice."""
    return sorted(p.stem for p in (ROOT / "training" / folder).glob("*.py") if not p.stem.startswith("_"))


def merge(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The content with the changes over it, mapping by mapping."""
    merged = dict(content)
    for key, value in changes.items():
        inside = merged.get(key)
        merged[key] = merge(inside, value) if isinstance(inside, dict) and isinstance(value, dict) else value
    return merged


def parse_changes(changes: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` each, values are YAML; `recipe.seed=3` is within `recipe`. Raises ConfigError."""
    found: dict[str, Any] = {}
    for change in changes:
        key, sign, value = change.partition("=")
        if not sign or not key:
            raise ConfigError("--set", change, "expected KEY=VALUE")
        try:
            nested = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError("--set", key, f"{value!r} is not YAML") from None
        for part in reversed(key.split(".")):
            nested = {part: nested}
        found = merge(found, nested)
    return found


def check(model: type[M], fields: dict[str, Any], where: Path | str) -> M:
    """Raises ConfigError naming the first key that is wrong."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(str(where), ".".join(map(str, first["loc"])) or "file", first["msg"]) from None


def _fields(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(str(path), "file", "expected keys and values")
    return {str(key): value for key, value in content.items()}
