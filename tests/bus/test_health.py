"""The health check against a real broker: well only if online and fresh; every trouble named."""

from datetime import UTC, datetime, timedelta

import pytest

from services.bus import health
from services.bus.errors import PayloadError
from services.bus.messages import Status, write
from services.bus.settings import BusSettings
from services.bus.topics import Topic
from tests.fixtures_mosquitto import Broker, Brokers, free_ports

NOW = datetime(2026, 11, 21, 8, 15, tzinfo=UTC)
TOPIC = Topic("pi", "node", "status", "sensor")


def status(age_s: float, now: datetime = NOW, **changes: object) -> Status:
    fields = {"state": "online", "session": "c1", "heartbeat_s": 10.0, "ts": now - timedelta(seconds=age_s)} | changes
    return Status.model_validate(fields)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (status(1), None),
        (status(29), None),
        (status(31), "last heartbeat 31 s ago"),
        (status(-3600), "last heartbeat -3600 s ago"),
        (status(1, state="offline"), "offline"),
        (status(1, ts=None), "its status has no time"),
    ],
)
def test_trouble_is_named(said: Status, problem: str | None) -> None:
    assert health.trouble(said, NOW) == problem


def check(broker: Broker, monkeypatch: pytest.MonkeyPatch, *arguments: str, **variables: str) -> int:
    for name, value in {"NODE": "pi", "BROKER_PORT": str(broker.port), **variables}.items():
        monkeypatch.setenv(f"EMBERWATCH_{name}", value)
    return health.main(list(arguments))


def test_exit_code_follows_the_retained_status(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for said, code, words in [
        (status(0, datetime.now(UTC)), 0, "sensor: online"),
        (status(100, datetime.now(UTC)), 1, "sensor: last heartbeat 100 s ago"),
        (status(0, datetime.now(UTC), state="offline"), 1, "sensor: offline"),
    ]:
        with broker.client() as client:
            client.publish(str(TOPIC), write(said), retain=True)
        assert check(broker, monkeypatch, "sensor") == code
        assert words in capsys.readouterr().out
    assert check(broker, monkeypatch, SERVICE="sensor") == 1
    assert "sensor: offline" in capsys.readouterr().out


def test_wrong_arguments_and_unreachable_brokers_are_named(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(broker, monkeypatch, "a/b") == 1
    assert "usage: python -m services.bus.health SERVICE" in capsys.readouterr().err
    assert check(broker, monkeypatch, "sensor", BROKER_PORT="none") == 1
    assert "EMBERWATCH_BROKER_PORT" in capsys.readouterr().err
    assert check(broker, monkeypatch, "sensor", BROKER_PORT=str(free_ports(1)[0])) == 1
    assert "refused" in capsys.readouterr().err


def test_a_status_that_never_came_and_one_that_is_none(broker: Broker) -> None:
    settings = BusSettings(broker_port=broker.port)
    with pytest.raises(TimeoutError, match="no status on emberwatch/v1/pi/node/status/sensor"):
        health.fetch(settings, TOPIC, timeout_s=0.5)
    with broker.client() as client:
        client.publish(str(TOPIC), "online", retain=True)
    with pytest.raises(PayloadError, match="status/sensor"):
        health.fetch(settings, TOPIC)


def test_the_servers_services_are_checked_with_their_password(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with brokers.cloud.client() as ingest:
        online = write(status(0, datetime.now(UTC)))
        assert ingest.publish("emberwatch/v1/cloud/cloud/status/ingest", online, retain=True) == "Success"
    user, password = brokers.users["ingest"]
    secrets = {"BROKER_USERNAME": user, "BROKER_PASSWORD": password}
    assert check(brokers.cloud, monkeypatch, "ingest", NODE="cloud", **secrets) == 0
    assert check(brokers.cloud, monkeypatch, "ingest", NODE="cloud", **secrets | {"BROKER_PASSWORD": "no"}) == 1
    assert "Not authorized" in capsys.readouterr().err
