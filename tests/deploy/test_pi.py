"""deploy/pi: the installer's files, put twice below a folder, and the units as systemd reads them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from services.bus.settings import ROOT, read_yaml
from services.sensor.host.ups import NutUps
from services.sensor.settings import SensorSettings

PI = ROOT / "deploy" / "pi"
UNITS = sorted((PI / "systemd").glob("emberwatch-*.service"))
POWER_OFF = [PI / "systemd" / f"poweroff-for-emberwatch.{kind}" for kind in ("path", "service")]
CONFIG = "/boot/firmware/config.txt"
ORIGINAL = "# For more options see\n[all]\ndtparam=audio=on\n[cm5]\ndtoverlay=dwc2\n"
EXPOSURE_MAX = 2.0  # systemd-analyze security; 10 = no sandbox at all


def install(root: Path, *arguments: str, code: int = 0) -> str:
    command = [str(PI / "install.sh"), "--root", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def contents(root: Path) -> dict[str, tuple[str, int, int]]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(p): (p.read_text(), p.stat().st_mode, p.stat().st_mtime_ns) for p in files}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / CONFIG[1:]).parent.mkdir(parents=True)
    (tmp_path / CONFIG[1:]).write_text(ORIGINAL)
    return tmp_path


def test_the_second_time_there_is_nothing_to_do(root: Path) -> None:
    first = install(root, "--node", "pi-cellar")
    assert "wrote /etc/systemd/system/emberwatch-alert.service" in first
    before = contents(root)
    assert install(root, "--node", "pi-cellar") == "install: everything was as it should be\n"
    assert contents(root) == before


def test_config_txt_gets_one_block_and_keeps_the_rest(root: Path) -> None:
    install(root)
    path = root / CONFIG[1:]
    once = path.read_text()
    assert once.startswith(ORIGINAL)
    assert once.count("dtoverlay=w1-gpio,gpiopin=4\n") == 1
    path.write_text(once.replace("gpiopin=4", "gpiopin=17"))
    install(root)
    assert path.read_text() == once
    assert Path(f"{path}.before-emberwatch").read_text() == ORIGINAL


def test_what_people_edit_is_never_overwritten(root: Path) -> None:
    install(root, "--node", "pi-cellar")
    edited = root / "etc/emberwatch/emberwatch.env"
    assert "EMBERWATCH_NODE=pi-cellar\n" in edited.read_text()
    edited.write_text("EMBERWATCH_NODE=mine\n")
    install(root, "--node", "other")
    assert edited.read_text() == "EMBERWATCH_NODE=mine\n"


def test_logs_are_kept_when_asked(root: Path) -> None:
    journal = root / "etc/systemd/journald.conf.d/emberwatch.conf"
    install(root)
    assert "Storage=volatile" in journal.read_text()
    install(root, "--keep-logs")
    assert not journal.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fast"], "unknown option --fast"),
        (["--node", "a/b"], "--node 'a/b': letters, digits, - and _ only"),
        (["--wheel", "/nowhere.whl"], "--wheel /nowhere.whl: no such file, or not readable"),
    ],
)
def test_wrong_arguments(root: Path, arguments: list[str], said: str) -> None:
    assert said in install(root, *arguments, code=2)


def test_the_shipped_settings_are_valid(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(root, "--node", "pi-cellar")
    for line in (root / "etc/emberwatch/emberwatch.env").read_text().splitlines():
        if line and not line.startswith("#"):
            monkeypatch.setenv(*line.split("=", 1))
    monkeypatch.setenv("EMBERWATCH_CONFIG", str(root / "etc/emberwatch/emberwatch.yaml"))
    settings = SensorSettings.load()
    assert (settings.node, settings.broker_port, settings.source) == ("pi-cellar", 18830, ("pi",))
    assert settings.pi == Path("/etc/emberwatch/pi.yaml")
    assert read_yaml(root / "etc/emberwatch/pi.yaml")


needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


def analyze(root: Path, *arguments: str) -> str:
    """Run systemd-analyze on the installed units, in a folder of their own."""
    environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{root}/etc/systemd/system:", "SYSTEMD_COLORS": "0"}
    done = subprocess.run(
        ["systemd-analyze", *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_understands_every_unit(root: Path) -> None:
    install(root)
    for unit in [*UNITS, *POWER_OFF, PI / "systemd" / "emberwatch.target"]:
        said = analyze(root, "verify", f"{root}/etc/systemd/system/{unit.name}").splitlines()
        # the programs are where the installer puts them, and not on this machine
        assert [line for line in said if "emberwatch" in line and "is not executable" not in line] == []


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_every_service_is_confined(root: Path, unit: Path) -> None:
    install(root)
    said = analyze(root, "security", "--offline=true", f"{root}/etc/systemd/system/{unit.name}")
    found = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= EXPOSURE_MAX


def settings_of(text: str) -> set[str]:
    return {line.partition("=")[0] for line in text.splitlines() if re.match(r"[A-Za-z]+=", line)}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_what_the_common_settings_say_no_unit_says_otherwise(unit: Path) -> None:
    """systemd reads them after the unit: PrivateDevices=yes there would take the sensor its bus, whatever it says."""
    common = settings_of((PI / "systemd/emberwatch-.service.d/sandbox.conf").read_text())
    assert settings_of(unit.read_text()) & common == set()


def test_python_services_are_watched(root: Path) -> None:
    for unit in UNITS:
        text = unit.read_text()
        assert "Type=notify" in text
        assert ("WatchdogSec=" in text) == ("-m services." in text)


def test_only_one_unit_may_switch_off_and_only_when_the_sensor_asks(root: Path) -> None:
    """The sensor is confined; it makes a file in the folder that is its own, which systemd waits for."""
    install(root)
    units = root / "etc/systemd/system"
    request = NutUps(kind="nut", name="ups").request
    assert f"PathExists={request}\n" in (units / "poweroff-for-emberwatch.path").read_text()
    service = (units / "poweroff-for-emberwatch.service").read_text()
    removes, switches_off = re.findall(r"^ExecStart=(.+)$", service, re.MULTILINE)
    assert removes == f"/bin/rm -f {request}"
    assert switches_off.endswith("systemctl --no-block poweroff")
    sandbox = (units / "emberwatch-.service.d/sandbox.conf").read_text()
    assert f"RuntimeDirectory={request.parent.name}\n" in sandbox
    assert f"EMBERWATCH_TAIL_DIR={request.parent}/" in sandbox
    assert all("poweroff" not in unit.read_text() for unit in UNITS)
