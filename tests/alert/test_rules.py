"""Rule files: what is wrong is named by file, rule and key."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.alert.rules import LimitRule, RuleSet, load_rules
from services.bus.errors import ConfigError
from services.bus.profiles import load_profile
from services.bus.settings import ROOT
from tests.alert.builders import rules_of, shipped, yaml_of

GOOD: dict[str, Any] = {
    "name": "hot",
    "kind": "high",
    "channel": "temperature_max",
    "setpoint": 60,
    "severity": "high",
    "text": "{value} of {limit}",
    "why": "a data sheet",
}


def test_shipped_rules_watch_channels_of_their_profile() -> None:
    channels = load_profile("battery").by_name
    for rule in shipped().profiles["battery"]:
        for name in {getattr(rule, "channel", None), getattr(getattr(rule, "when", None), "channel", None)} - {None}:
            assert name in channels, rule.name


def test_shipped_cloud_rules_load() -> None:
    assert {r.kind for r in load_rules([ROOT / "rules" / "cloud.yaml"]).watch} == {"silent_node", "silent_service"}


def test_runaway_latches_and_cannot_be_shelved() -> None:
    rule = shipped().by_name()["thermal_runaway"]
    assert (rule.latch, rule.shelf_s, rule.severity) == (True, 0.0, "critical")


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ({"kind": "hihg"}, "rules[hot]", "hihg"),
        ({"setpoint": "warm"}, "rules[hot].setpoint", "number"),
        ({"setpoint": float("nan")}, "rules[hot].setpoint", "finite"),
        ({"deadband": -1}, "rules[hot].deadband", "greater"),
        ({"limit": 3}, "rules[hot].limit", "Extra"),
        ({"why": ""}, "rules[hot].why", "at least"),
        ({"name": "Too Hot"}, "rules[Too Hot].name", "a-z"),
        ({"text": "{price}"}, "rules[hot].text", "price"),
        ({"latch": True, "shelvable_s": 60}, "rules[hot]", "cannot be shelved"),
        ({"escalate": {"setpoint": 50, "severity": "critical"}}, "rules[hot]", "not beyond"),
        ({"escalate": {"setpoint": 80, "severity": "low"}}, "rules[hot]", "not above"),
        ({"when": {"channel": "current"}}, "rules[hot].when", "above, below"),
    ],
)
def test_a_bad_rule_is_named(tmp_path: Path, change: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules_of(tmp_path, yaml_of(GOOD | change, profile="battery"))
    assert caught.value.where == str(tmp_path / "rules.yaml")
    assert caught.value.key == key
    assert words in caught.value.reason


@pytest.mark.parametrize("text", ["", "- 1", "rules: []\nprofile: battery", "rules: [{}]", "a: [", "profile: battery"])
def test_a_bad_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"rules\.yaml"):
        rules_of(tmp_path, text)


def test_a_rule_name_is_used_once_over_all_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(yaml_of(GOOD, profile="battery"))
    with pytest.raises(ConfigError, match=r"b\.yaml: rules\[hot\]: the name is already used in .*a\.yaml"):
        load_rules([tmp_path / "a.yaml", tmp_path / "b.yaml"])


def test_a_silence_rule_does_not_belong_into_a_profile(tmp_path: Path) -> None:
    silent = {"name": "s", "kind": "broker", "severity": "high", "text": "x", "why": "a good reason"}
    with pytest.raises(ConfigError, match="kind broker does not belong"):
        rules_of(tmp_path, yaml_of(silent, profile="battery"))


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4)
)
WORDS = st.sampled_from(sorted({"profile", "watch", "rules", "name", "kind", "when", "escalate", "node", *GOOD}))
TREES = st.recursive(
    SCALARS | WORDS,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(WORDS | SCALARS, part, max_size=5),
    max_leaves=20,
)
CHANGED = st.dictionaries(WORDS, TREES, max_size=3).map(lambda change: GOOD | change)
FILES = TREES | st.fixed_dictionaries({"rules": st.lists(CHANGED | TREES, max_size=3)}, optional={"profile": TREES})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILES)
def test_any_structure_is_a_rule_set_or_is_refused(tmp_path: Path, content: Any) -> None:
    with suppress(ConfigError):
        assert isinstance(rules_of(tmp_path, yaml.safe_dump(content, allow_unicode=True)), RuleSet)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="profile: batery\n -[]{}&*!?|>'\"0123456789~.#%@", max_size=80))
def test_any_text_is_a_rule_set_or_is_refused(tmp_path: Path, text: str) -> None:
    with suppress(ConfigError):
        assert isinstance(rules_of(tmp_path, text), RuleSet)


def test_defaults(tmp_path: Path) -> None:
    rule = rules_of(tmp_path, yaml_of(GOOD, profile="battery")).by_name()["hot"]
    assert isinstance(rule, LimitRule)
    assert (rule.shelf_s, rule.deadband, rule.on_delay_s, rule.latch) == (28_800.0, 0.0, 0.0, False)
