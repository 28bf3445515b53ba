"""One payload of each kind, as it travels: for the reference, for people, and for tests."""

from typing import Any, Final, NamedTuple

_SENSOR, _INFERENCE, _ALERT = "9f3c0a517be2d4c8", "5a0e91c47d3b6f28", "77d1e0b39c5a4f62"
_OCCURRENCE: Final = "01KAJX2M8Q4V7W9YB3C5D6E8F0"
_TS: Final = "2026-11-21T08:15:02.250Z"
_ALARM: Final[dict[str, Any]] = {
    "state": "unacknowledged_active",
    "occurrence": _OCCURRENCE,
    "active": True,
    "acknowledged": False,
    "latched": False,
    "shelved_until": None,
    "severity": "high",
    "raised_at": _TS,
    "count": 1,
    "text": "Cell spread 152 mV, limit 120 mV",
    "evidence": {
        "channel": "cell_spread",
        "value": 0.152,
        "limit": 0.12,
        "unit": "V",
        "sample": {"boot": _SENSOR, "seq": 4711},
        "quality": "good",
    },
}


class Example(NamedTuple):
    """A payload under the topic at which it would be found."""

    topic: str
    payload: dict[str, Any]
    title: str = ""


def _at(device: str, kind: str, name: str, title: str = "", /, **payload: Any) -> Example:
    node = "cloud" if device == "cloud" else "pi-cellar"
    return Example(f"emberwatch/v1/{node}/{device}/{kind}/{name}", payload, title)


EXAMPLES: Final[tuple[Example, ...]] = (
    _at(
        *("pack-1", "telemetry", "battery"),
        boot=_SENSOR,
        seq=4711,
        ts=_TS,
        mono=4712.25,
        time_source="ntp",
        layout="b1c4e07d",
        channels={
            "voltage": 355.2,
            "current": -46.1,
            "soc": 0.61,
            "cell_voltage_max": 3.712,
            "cell_voltage_min": 3.688,
            "temperature_max": 31.0,
            "temperature_min": None,
            "cell_voltages": [3.701, 3.712, 3.688],
        },
        quality={"temperature_min": "fault:crc", "cell_voltages[2]": "suspect"},
        sent=4712.251377,
    ),
    _at(
        *("pump-1", "telemetry", "vibration", "a block of a high-rate profile"),
        boot=_SENSOR,
        seq=17,
        ts=_TS,
        mono=17.0,
        layout="0c77a1e2",
        period_s=0.25,
        channels={"acceleration_x": [0.11, 0.14, -0.02, 0.07], "acceleration_z": [9.79, 9.83, 9.81, 9.8]},
    ),
    _at(
        *("pack-1", "estimate", "battery"),
        boot=_INFERENCE,
        seq=79,
        ts=_TS,
        mono=4740.1,
        of={"boot": _SENSOR, "seq": 4711},
        values={"soc": {"value": 0.612, "error": 0.01}, "leak_current": {"value": 0.003, "error": 0.002}},
    ),
    _at(
        *("pack-1", "score", "dyad-int8"),
        boot=_INFERENCE,
        seq=52,
        ts=_TS,
        mono=51.9,
        bundle="dyad-int8@1.2.0+3fa9",
        profile="battery",
        window={"boot": _SENSOR, "first": 4584, "last": 4711, "holes": 0},
        score=1.84,
        threshold=1.0,
        shares={"cell_voltage_min": 0.71, "voltage": 0.2, "temperature_max": 0.09},
        compute_ms=0.4,
        latency_ms=2.1,
    ),
    _at(
        *("pack-1", "event", "cell_spread"),
        boot=_ALERT,
        seq=12,
        ts=_TS,
        mono=4712.26,
        type="raised",
        occurrence=_OCCURRENCE,
        revision=3,
        by=None,
        trace="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        alarm=_ALARM,
    ),
    _at("pack-1", "alarm", "cell_spread", boot=_ALERT, revision=3, **_ALARM),
    _at(
        *("pack-1", "layout", "battery"),
        profile="battery",
        version=1,
        hash="b1c4e07d",
        period_s=1.0,
        channels=[
            {"name": "voltage", "unit": "V"},
            {"name": "current", "unit": "A"},
            {"name": "cell_voltages", "unit": "V", "length": 3},
        ],
    ),
    _at(
        *("node", "status", "sensor"),
        state="online",
        session="c1f09a3de5b74286",
        installation="e5d04b7a92c3f118",
        boot=_SENSOR,
        version="0.1.0",
        ts=_TS,
        time_source="ntp",
        heartbeat_s=10.0,
        counters={"published": 4712, "rejected": 0, "journal_bytes": 81920},
        positions={"pi-cellar/pack-1/telemetry.battery": {"boot": _SENSOR, "seq": 4711}},
    ),
    _at("node", "status", "sensor", "the Last Will", state="offline", session="c1f09a3de5b74286"),
    _at(
        *("pack-1", "journal", "telemetry.battery"),
        page=1,
        pages=1,
        ranges=[
            {
                "boot": _SENSOR,
                "first": 0,
                "last": 4711,
                "from": "2026-11-21T06:56:31.250Z",
                "to": _TS,
                "closed": False,
                "timed": True,
                "tail_unknown": False,
            }
        ],
        lost=[
            {
                "boot": "02b7c6d5e4f3a291",
                "first": 100,
                "last": 220,
                "from": "2026-10-20T01:00:00.000Z",
                "to": "2026-10-20T01:02:00.000Z",
            }
        ],
    ),
    _at(
        *("pack-1", "backfill", "telemetry.battery"),
        boot=_SENSOR,
        seq=[100, 101],
        layout="b1c4e07d",
        time_source="ntp",
        ts=["2026-11-21T06:58:11.250Z", "2026-11-21T06:58:12.250Z"],
        mono=[101.25, 102.25],
        channels={"voltage": [355.1, 355.2], "cell_voltages": [[3.7, 3.71, 3.69], [3.7, 3.71, None]]},
        quality={"1": {"voltage": "suspect"}},
        missing=[[102, 120]],
    ),
    _at(
        *("pack-1", "backfill", "estimate.battery", "other streams travel as whole messages"),
        boot=_INFERENCE,
        seq=[79],
        messages=[
            {
                "boot": _INFERENCE,
                "seq": 79,
                "ts": _TS,
                "mono": 4740.1,
                "of": {"boot": _SENSOR, "seq": 4711},
                "values": {"soc": {"value": 0.612, "error": 0.01}},
            }
        ],
    ),
    _at(
        *("pack-1", "command", "alert", "acknowledge an alarm"),
        correlation_id="d3f1a0",
        action="acknowledge",
        rule="cell_spread",
        occurrence=_OCCURRENCE,
        revision=3,
        severity="high",
        by="anna@dashboard",
        expires_at="2026-11-21T08:20:00.000Z",
    ),
    _at(
        *("pack-1", "command", "alert", "shelve an alarm for a time"),
        correlation_id="d3f1a1",
        action="shelve",
        rule="cell_spread",
        occurrence=_OCCURRENCE,
        revision=4,
        severity="high",
        by="anna@dashboard",
        reason="pack is being balanced",
        until="2026-11-21T12:00:00.000Z",
    ),
    _at(
        *("node", "command", "alert", "let a phone pair"),
        correlation_id="d3f1a5",
        action="pair",
        seconds=120.0,
        by="anna@pi-cellar",
    ),
    _at(
        *("pack-1", "command", "sensor", "ask for past messages"),
        correlation_id="d3f1a2",
        action="backfill",
        stream="telemetry.battery",
        boot=_SENSOR,
        ranges=[[100, 220]],
    ),
    _at(
        *("pack-1", "command", "sensor", "say what is safely stored"),
        correlation_id="d3f1a3",
        action="confirm",
        stream="telemetry.battery",
        boot=_SENSOR,
        ranges=[[0, 4600]],
    ),
    _at(
        *("pack-1", "reply", "alert"),
        correlation_id="d3f1a0",
        status="refused",
        reason="severity has risen to critical",
        revision=4,
    ),
    _at("node", "request", "ingest", correlation_id="d3f1a4", action="assess", device="pack-1"),
)
