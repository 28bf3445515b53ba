"""What the services cost, read from a real broker process and from figures."""

import argparse
import time

import pytest

from services.bus.errors import EmberwatchError
from services.doctor import power
from services.doctor.power import Usage, costs, name_of, scan, total
from tests.fixtures_mosquitto import Broker


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["/opt/emberwatch/venv/bin/python", "-m", "services.sensor"], "sensor"),
        (["python3", "-P", "-m", "services.alert"], "alert"),
        (["/usr/sbin/mosquitto", "-c", "/var/lib/emberwatch/mosquitto/local/mosquitto.conf"], "broker local"),
        (["/usr/sbin/mosquitto", "-c", "/etc/mosquitto/mosquitto.conf"], None),
        (["python3", "-m", "services"], None),
        (["python3", "-m"], None),
        (["vim", "services.sensor"], None),
    ],
)
def test_which_processes_are_ours(command: list[str], name: str | None) -> None:
    assert name_of(command) == name


def test_costs_are_those_between_two_looks() -> None:
    before = {("sensor", 7): Usage(10.0, 1000, 5_000_000, 0), ("alert", 8): Usage(1.0, 10, None, 0)}
    after = {
        ("sensor", 7): Usage(10.5, 1100, 6_000_000, 40_000_000),
        ("alert", 8): Usage(1.0, 20, None, 30_000_000),
        ("inference", 9): Usage(3.0, 1, 1, 1),  # started meanwhile
    }
    found = costs(before, after, 10.0)
    assert set(found) == {"sensor", "alert"}
    sensor = found["sensor"]
    assert (sensor.cpu_share, sensor.cpu_s_day, sensor.wake_ups_s) == pytest.approx((0.05, 4320.0, 10.0))
    assert (sensor.written_mb_day, sensor.memory_mb) == pytest.approx((8640.0, 40.0))
    assert found["alert"].written_mb_day is None
    assert total(found).wake_ups_s == pytest.approx(11.0)


def test_a_real_broker_is_seen_and_its_work_is_counted(broker: Broker) -> None:
    mine = [key for key, usage in scan().items() if key[0] == "broker local"]
    before, began = scan(), time.monotonic()
    with broker.client() as client:
        for number in range(300):
            client.publish("a/b", str(number))
    found = costs(before, scan(), time.monotonic() - began)
    assert mine
    assert any(cost.wake_ups_s > 10 and cost.memory_mb > 0.5 for cost in found.values())


def test_where_nothing_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(power, "scan", dict)
    assert power.main(argparse.Namespace(seconds=1.0, json=False)) == 2
    assert capsys.readouterr().err == "power: nothing of Emberwatch runs on this computer\n"
    with pytest.raises(EmberwatchError, match="--seconds"):
        power.measure(0.0)
