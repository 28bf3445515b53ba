"""Nothing has to be compiled on a Pi: each edge dependency has a wheel for it. Needs the package index alone."""

import json
import re
from pathlib import Path

import pytest

from tests.hardware.rig import cache, edge
from tests.hardware.rig.parts import BOOKWORM, SUITES, TRIXIE, Suite

UNREACHABLE = re.compile(r"Max retries|Failed to establish|Temporary failure|Name or service not known|timed out")


def resolve(requirements: list[str], python: str, newest: int, place: Path) -> dict[str, str]:
    """Package -> file, as pip would take it for that Python on aarch64 with glibc 2.`newest`."""
    report = place / "report.json"
    dry = ["install", "-q", "--dry-run", "--ignore-installed", "--report", str(report)]
    try:
        edge.pip([*dry, "--target", str(place / "nothing"), *edge.target(python, newest), *requirements], python)
    except cache.NoRig as error:
        if UNREACHABLE.search(str(error)):
            pytest.skip("the package index cannot be reached")
        raise
    installs = json.loads(report.read_text())["install"]
    return {item["metadata"]["name"]: item["download_info"]["url"].rsplit("/", 1)[1] for item in installs}


def test_the_services_have_wheels_for_any_pi_of_the_last_years(tmp_path: Path) -> None:
    files = resolve(edge.requirements(["sensor", "inference", "alert"]), "3.11", 28, tmp_path)
    assert {"paho-mqtt", "numpy", "onnxruntime", "pyarrow"} <= files.keys()
    assert all(re.search(r"(aarch64|-any)\.whl$", file) for file in files.values()), files


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_the_drivers_have_wheels_for_raspberry_pi_os(suite: Suite, tmp_path: Path) -> None:
    services = set(edge.requirements(["sensor", "inference", "alert"]))
    files = resolve(
        [one for one in edge.requirements(["pi"]) if one not in services], suite.python, suite.glibc, tmp_path
    )
    assert "RPLCD" in files
    assert ("lgpio" in files) == (suite is BOOKWORM)  # Raspberry Pi OS 13 brings its own
    assert ("aiobmsble" in files) == (suite is TRIXIE)  # it needs Python 3.12
    assert all(re.search(r"(aarch64|-any)\.whl$", file) for file in files.values()), files


def test_a_package_without_a_wheel_would_be_noticed(tmp_path: Path) -> None:
    """adafruit-extended-bus has a source archive only; that is why nothing of ours needs it."""
    with pytest.raises(cache.NoRig, match="adafruit-extended-bus"):
        resolve(["adafruit-extended-bus"], "3.11", 36, tmp_path)


def test_requirements_follow_our_own_extras() -> None:
    whole = edge.requirements(["pi"])
    assert set(edge.requirements(["sensor", "inference", "alert"])) <= set(whole)
    assert not any(name.startswith("emberwatch") for name in whole)
