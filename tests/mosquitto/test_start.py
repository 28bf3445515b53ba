"""mosquitto/start: clear errors for bad variables, the used port and the damaged file; nothing secret left readable."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.fixtures_mosquitto import START, Broker, free_ports

PEM = str(START)  # a file that can be read
GOOD: dict[str, dict[str, str]] = {
    "local": {},
    "gateway": {"EMBERWATCH_NODE": "pi"},
    "cloud": {"EMBERWATCH_CLOUD_USERS": "ingest:i pi:p"},
}


def refused(folder: Path, role: str, variables: dict[str, str]) -> str:
    """Run the script with variables that must be refused; returns its error."""
    environment = {"PATH": os.environ["PATH"], "EMBERWATCH_DATA_DIR": str(folder)} | variables
    result = subprocess.run([START, role], env=environment, capture_output=True, text=True, timeout=10, check=False)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("mosquitto/start ")
    return result.stderr


@pytest.mark.parametrize(
    ("role", "variables", "error"),
    [
        ("", {}, "usage: mosquitto/start local|gateway|cloud"),
        ("lokal", {}, "usage: mosquitto/start local|gateway|cloud"),
        ("local", {"EMBERWATCH_DATA_DIR": ""}, "EMBERWATCH_DATA_DIR is not set"),
        ("local", {"EMBERWATCH_DATA_DIR": "/proc/nowhere"}, "EMBERWATCH_DATA_DIR='/proc/nowhere'"),
        ("local", {"EMBERWATCH_LOCAL_PORT": "mqtt"}, "EMBERWATCH_LOCAL_PORT='mqtt': a port is a number"),
        ("local", {"EMBERWATCH_LOCAL_PORT": "0"}, "EMBERWATCH_LOCAL_PORT='0'"),
        ("local", {"EMBERWATCH_LOCAL_PORT": "70000"}, "EMBERWATCH_LOCAL_PORT='70000'"),
        ("local", {"EMBERWATCH_LOCAL_PORT": "1883\nallow_anonymous true"}, "EMBERWATCH_LOCAL_PORT="),
        ("local", {"EMBERWATCH_LOCAL_PORT": "1883\n"}, "EMBERWATCH_LOCAL_PORT="),
        ("local", {"EMBERWATCH_LOCAL_BIND": "0.0.0.0"}, "this broker asks no password"),
        ("gateway", {"EMBERWATCH_NODE": ""}, "EMBERWATCH_NODE is not set"),
        ("gateway", {"EMBERWATCH_NODE": "Pi"}, "EMBERWATCH_NODE='Pi'"),
        ("gateway", {"EMBERWATCH_NODE": "pi/#"}, "EMBERWATCH_NODE='pi/#'"),
        ("gateway", {"EMBERWATCH_NODE": "-pi"}, "begin with a letter or a digit"),
        ("gateway", {"EMBERWATCH_NODE": "p" * 65}, "64 characters at most"),
        ("gateway", {"EMBERWATCH_NODE": "cloud"}, "reserved for the server"),
        ("gateway", {"EMBERWATCH_LAN_BIND": "192.168.1.5"}, "EMBERWATCH_LAN_PASSWORD is not set"),
        ("gateway", {"EMBERWATCH_LAN_PASSWORD": "two words"}, "EMBERWATCH_LAN_PASSWORD"),
        ("gateway", {"EMBERWATCH_CLOUD_HOST": "cloud.example\naddress x"}, "EMBERWATCH_CLOUD_HOST"),
        ("gateway", {"EMBERWATCH_CLOUD_CA": "/nowhere/ca.pem"}, "EMBERWATCH_CLOUD_CA='/nowhere/ca.pem': no such file"),
        ("gateway", {"EMBERWATCH_CLOUD_CERT": PEM}, "EMBERWATCH_CLOUD_KEY is not set"),
        ("cloud", {"EMBERWATCH_CLOUD_USERS": ""}, "EMBERWATCH_CLOUD_USERS is not set"),
        ("cloud", {"EMBERWATCH_CLOUD_USERS": "ingest:i alert"}, "EMBERWATCH_CLOUD_USERS: entry 2 is not"),
        ("cloud", {"EMBERWATCH_CLOUD_USERS": "a/+:x"}, "EMBERWATCH_CLOUD_USERS: entry 1 is not"),
        ("cloud", {"EMBERWATCH_CLOUD_ANONYMOUS": "1", "EMBERWATCH_CLOUD_BIND": "0.0.0.0"}, "on loopback only"),
        (
            "cloud",
            {"EMBERWATCH_CLOUD_ANONYMOUS": "1", "EMBERWATCH_SERVER_CERT": PEM, "EMBERWATCH_SERVER_KEY": PEM},
            "not with",
        ),
        (
            "cloud",
            {"EMBERWATCH_CLOUD_USERS": "pi:demo i:x", "EMBERWATCH_PUBLISHED": "127.0.0.1 0.0.0.0"},
            "open on 0.0.0.0",
        ),
        (
            "cloud",
            {"EMBERWATCH_CLOUD_USERS": "i:x pi:demo", "EMBERWATCH_PUBLISHED": "192.168.1.5"},
            "open on 192.168.1.5",
        ),
        ("gateway", {"EMBERWATCH_LAN_PASSWORD": "demo", "EMBERWATCH_PUBLISHED": "0.0.0.0"}, "LAN_PASSWORD is `demo`"),
        ("cloud", {"EMBERWATCH_SERVER_KEY": PEM}, "EMBERWATCH_SERVER_CERT is not set"),
    ],
)
def test_bad_variables_are_refused_by_name(tmp_path: Path, role: str, variables: dict[str, str], error: str) -> None:
    assert error in refused(tmp_path, role, GOOD.get(role, {}) | variables)


def test_an_error_never_shows_a_password(tmp_path: Path) -> None:
    for variable in ("EMBERWATCH_LAN_PASSWORD", "EMBERWATCH_CLOUD_PASSWORD"):
        assert "hush" not in refused(tmp_path, "gateway", GOOD["gateway"] | {variable: "hush hush"})
    assert "hush" not in refused(tmp_path, "cloud", {"EMBERWATCH_CLOUD_USERS": "pi:hush:hush"})


def test_a_used_port_is_named_with_role_and_reason(broker: Broker, tmp_path: Path) -> None:
    environment = os.environ | {"EMBERWATCH_DATA_DIR": str(tmp_path / "second"), **broker.environment}
    second = subprocess.run([START, "local"], env=environment, capture_output=True, text=True, timeout=10, check=False)
    assert second.returncode != 0
    assert f"mosquitto/start local: listening on 127.0.0.1 port {broker.port}" in second.stderr
    assert "Error: Address already in use" in second.stderr


def test_passwords_are_hashed_and_files_are_private(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    users = tmp_path / "users"
    users.write_text("# nodes\nattic:hush2\n\n")
    cloud = {"EMBERWATCH_CLOUD_USERS": "ingest:hush1", "EMBERWATCH_CLOUD_USERS_FILE": str(users)}
    broker = Broker("cloud", port, cloud | {"EMBERWATCH_CLOUD_PORT": str(port)}, tmp_path, ("attic", "hush2"))
    broker.start()
    try:
        with broker.client() as client:
            assert client.publish("emberwatch/v1/attic/pack-1/telemetry/battery") == "No matching subscribers"
    finally:
        broker.stop()
    for file in (tmp_path / "mosquitto" / "cloud").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert b"hush" not in file.read_bytes()


@pytest.mark.parametrize(
    ("role", "variables"),
    [
        ("gateway", {"EMBERWATCH_NODE": "pi", "EMBERWATCH_LAN_PASSWORD": "-hu$h'#"}),
        ("cloud", {"EMBERWATCH_CLOUD_USERS": "ingest:-hu$h'# pi:p"}),
    ],
)
def test_a_health_check_reads_its_password_from_a_private_file(
    tmp_path: Path, role: str, variables: dict[str, str]
) -> None:
    port, folder = free_ports(1)[0], tmp_path / "mosquitto" / role
    user = "lan" if role == "gateway" else "ingest"
    ports = {"EMBERWATCH_LAN_PORT": str(port), "EMBERWATCH_CLOUD_PORT": str(port)}
    private = {"XDG_CONFIG_HOME": str(folder)}
    broker = Broker(role, port, variables | ports | private, tmp_path, (user, "-hu$h'#"))
    broker.start()
    try:
        ask = ["mosquitto_sub", "-p", str(port), "-t", "$SYS/broker/version", "-C", "1", "-W", "4"]
        answer = subprocess.run(ask, env=os.environ | private, capture_output=True, text=True, timeout=10, check=False)
        assert answer.stdout.startswith("mosquitto version"), answer.stderr
    finally:
        broker.stop()
    assert stat.S_IMODE((folder / "mosquitto_sub").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [bytes(4096), b"", b"not a database"], ids=["zeros", "empty", "foreign"])
def test_a_damaged_database_is_moved_aside_and_the_broker_starts(broker: Broker, content: bytes) -> None:
    broker.stop()
    database = broker.folder / "mosquitto" / "local" / "mosquitto.db"
    database.write_bytes(content)
    broker.start()
    assert f"{database} is damaged; moved aside to {database}.broken" in broker.log
    assert database.with_suffix(".db.broken").read_bytes() == content


def test_retained_states_survive_a_stop(broker: Broker) -> None:
    with broker.client() as client:
        client.publish("emberwatch/v1/pi/pack-1/alarm/smoke", "active", retain=True)
    broker.restart()
    with broker.client() as client:
        client.subscribe("emberwatch/#")
        assert client.wait_for("emberwatch/v1/pi/pack-1/alarm/smoke", "active").retain


def test_a_packet_over_the_limit_ends_only_its_sender(broker: Broker) -> None:
    with broker.client() as reader:
        reader.subscribe("emberwatch/#")
        with broker.client() as writer, pytest.raises(TimeoutError):
            writer.acknowledged(writer.send("emberwatch/v1/pi/a/telemetry/b", bytes(200_000)), timeout_s=1)
        with broker.client() as writer:
            writer.publish("emberwatch/v1/pi/a/telemetry/b", bytes(65_536))
        assert [len(m.payload) for m in reader.wait_count(1)] == [65_536]


def test_data_folder_with_blanks_and_special_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a b&c|d"
    folder.mkdir()
    port = free_ports(1)[0]
    broker = Broker("local", port, {"EMBERWATCH_LOCAL_PORT": str(port)}, folder)
    broker.start()
    broker.stop()
    assert (folder / "mosquitto" / "local" / "mosquitto.db").exists()
