"""What the dashboard's tests share: messages as other services publish them, and a feed on a real broker."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.bus.messages import Alarm, AlarmStatus, Sample, Status
from services.bus.profiles import load_profile
from services.dashboard.live import LiveFeed
from services.dashboard.settings import DashboardSettings
from tests.fixtures_mosquitto import Broker

BOOT, OTHER_BOOT = "00000000000000a1", "00000000000000b2"
START = datetime(2021, 5, 5, 9, 10, tzinfo=UTC)
PREFIX = "emberwatch/v1/pi"
TIMEOUT_S = 20.0
LAYOUT = load_profile("battery").layout(
    {"voltage": None, "current": None, "soc": None, "cell_voltage_max": None, "cell_voltage_min": None}
    | {"cell_spread": None, "temperature_max": None, "temperature_min": None, "cell_voltages": 3, "temperatures": 2}
)


def until(condition: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until the condition holds, from a thread that is not the feed's."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {condition}"
        time.sleep(0.02)


def sample(seq: int, boot: str = BOOT, **changed: Any) -> Sample:
    channels: dict[str, Any] = {
        "voltage": 352.0,
        "current": -46.1,
        "soc": 0.61,
        "cell_voltage_max": 3.712,
        "cell_voltage_min": 3.688,
        "cell_spread": 0.024,
        "temperature_max": 31.0,
        "temperature_min": None,
        "cell_voltages": [3.701, 3.712, 3.688],
        "temperatures": [31.0, None],
    }
    return Sample(
        boot=boot,
        seq=seq,
        ts=START + timedelta(seconds=seq),
        mono=float(seq),
        layout=LAYOUT.hash,
        channels=channels | changed,
        quality={"temperature_min": "fault:crc"},
    )


def online(session: str = "c1", *, beat: int = 0, boot: str = BOOT, **more: Any) -> Status:
    ts = datetime.now(UTC) + timedelta(milliseconds=beat)
    return Status(state="online", session=session, boot=boot, version="0.1.0", ts=ts, heartbeat_s=10.0, **more)


def offline(session: str = "c1") -> Status:
    return Status(state="offline", session=session)


def alarm(revision: int = 1, *, boot: str = BOOT, **changed: Any) -> AlarmStatus:
    fields = {
        "state": "unacknowledged_active",
        "occurrence": "01JC0000000000000000000000",
        "active": True,
        "acknowledged": False,
        "severity": "high",
        "raised_at": START,
        "count": 1,
        "text": "Highest cell 4.300 V, limit 4.250 V",
        "evidence": {"channel": "cell_voltage_max", "value": 4.3, "limit": 4.25, "unit": "V"},
    }
    return AlarmStatus.model_validate(fields | {"boot": boot, "revision": revision} | changed)


def one_alarm(**changed: Any) -> Alarm:
    return Alarm.model_validate(alarm(**changed).model_dump(exclude={"boot", "revision", "alarms"}))


def wait_subscribed(feed: LiveFeed) -> None:
    """It hears its own status, which it publishes after it has subscribed."""
    until(lambda: feed.received)


def wait_sample(feed: LiveFeed, seq: int) -> None:
    """Wait until the feed's newest sample of pi/pack-1 is this one."""
    shown = f"{START + timedelta(seconds=seq):%Y-%m-%d %H:%M:%S} UTC"
    until(lambda: feed.view(("pi", "pack-1"), 1.0).recorded == shown)


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> DashboardSettings:
    return DashboardSettings(broker_port=broker.port, data_dir=tmp_path / "dashboard", heartbeat_s=0.5)


@pytest.fixture
def feed(settings: DashboardSettings) -> Iterator[LiveFeed]:
    """A feed that has subscribed."""
    started = LiveFeed(settings).start()
    wait_subscribed(started)
    yield started
    started.close()
