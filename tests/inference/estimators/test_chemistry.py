"""Open-circuit tables: shipped ones are sound, a wrong one is refused by file and key."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from services.bus.errors import ConfigError
from services.inference.estimators.chemistry import FOLDER, load_chemistry


@pytest.mark.parametrize("name", ["NMC", "NCA", "LFP"])
def test_voltage_and_state_of_charge_are_inverse(name: str) -> None:
    chemistry = load_chemistry(name)
    for soc in (0.0, 0.013, 0.2, 0.55, 0.9, 1.0):
        assert chemistry.soc_at(chemistry.voltage_at(soc)) == pytest.approx(soc, abs=1e-9)
    assert (chemistry.soc_at(0.0), chemistry.soc_at(9.0)) == (0.0, 1.0)
    assert chemistry.empty_v < chemistry.voltage_at(0.5) < chemistry.full_v


def test_a_plateau_tells_little_and_says_so() -> None:
    iron, nickel = load_chemistry("LFP"), load_chemistry("NMC")
    assert iron.soc_error(iron.voltage_at(0.6), 0.015) > 0.1
    assert nickel.soc_error(nickel.voltage_at(0.6), 0.015) < 0.03


def test_compositions_of_one_family_share_its_table() -> None:
    assert load_chemistry("NCM811") == load_chemistry("nmc523") == load_chemistry("NMC")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"ocv": [1, 2]}, "ocv: 2 values"),
        ({"soc": [0, 0.5, 0.4, 0.9, 1], "ocv": [3, 3.1, 3.2, 3.3, 3.4], "error": [0.1] * 5}, "soc: must rise"),
        ({"soc": [0.1, 0.3, 0.4, 0.9, 1], "ocv": [3, 3.1, 3.2, 3.3, 3.4], "error": [0.1] * 5}, "from 0 to 1"),
        ({"full_v": -1}, "full_v"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, change: dict[str, Any], key: str) -> None:
    content = yaml.safe_load((FOLDER / "NMC.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content | change))
    with pytest.raises(ConfigError, match=key) as refused:
        load_chemistry(str(path))
    assert refused.value.where == str(path)


def test_an_unknown_chemistry_names_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="LFP, NCA, NMC"):
        load_chemistry("unobtainium")
