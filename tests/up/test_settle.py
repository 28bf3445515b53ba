"""When everything that was published has arrived everywhere."""

from typing import Any

import pytest

from services.bus.messages import Replay, SampleId, Status
from services.up.settle import unsettled

BOOT, JUDGED, ALARMS = "a" * 16, "b" * 16, "c" * 16
TELEMETRY, SCORES, EVENTS = "pi/pack-1/telemetry.battery", "pi/pack-1/score.dyad-int8", "pi/pack-1/event.cell_spread"


def status(positions: dict[str, tuple[str, int]], state: str = "online", replay: Replay | None = None) -> Status:
    at = {stream: SampleId(boot=boot, seq=seq) for stream, (boot, seq) in positions.items()}
    return Status.model_validate({"state": state, "session": "s", "positions": at, "replay": replay})


def stored(stream: str, boot: str, highest: int, missing: int = 0, node: str = "pi") -> dict[str, Any]:
    _, device, name = stream.split("/")
    kind, _, rest = name.partition(".")
    return {
        "node": node, "device": device, "kind": kind, "name": rest, "boot": boot, "highest": highest, "missing": missing
    }  # fmt: skip


def settled() -> tuple[dict[str, Status], list[dict[str, Any]]]:
    """A node at rest: 100 rows, 3 scores, 1 event."""
    replay = Replay(file="f", rows=100, published=100, finished=True)
    read = {TELEMETRY: (BOOT, 99)}
    statuses = {
        "sensor": status({TELEMETRY: (BOOT, 99)}, replay=replay),
        "inference": status(read | {SCORES: (JUDGED, 2)}),
        "alert": status(read | {SCORES: (JUDGED, 2), EVENTS: (ALARMS, 0)}),
    }
    return statuses, [stored(TELEMETRY, BOOT, 99), stored(SCORES, JUDGED, 2), stored(EVENTS, ALARMS, 0)]


def test_a_node_at_rest_is_settled() -> None:
    assert unsettled(*settled(), "pi") == []


def test_streams_of_earlier_process_starts_and_other_nodes_do_not_matter() -> None:
    statuses, streams = settled()
    streams += [stored(TELEMETRY, "d" * 16, 5), stored("attic/p/telemetry.battery", "e" * 16, 0, 7, "attic")]
    assert unsettled(statuses, streams, "pi") == []


@pytest.mark.parametrize("name", ["sensor", "inference", "alert"])
def test_each_service_must_be_online(name: str) -> None:
    statuses, streams = settled()
    assert unsettled(statuses | {name: status({}, "offline")}, streams, "pi") == [f"{name}: not online"]
    del statuses[name]
    assert unsettled(statuses, streams, "pi") == [f"{name}: not online"]


@pytest.mark.parametrize(
    ("replay", "reason"),
    [
        (None, "sensor: nothing published"),
        (Replay(file="f", rows=100, published=40, finished=False), "sensor: 40 of 100 rows published"),
        (Replay(file="f", rows=100, published=100, finished=False), "sensor: 100 of 100 rows published"),
    ],
)
def test_the_recording_must_be_published(replay: Replay | None, reason: str) -> None:
    statuses, streams = settled()
    statuses["sensor"] = status({TELEMETRY: (BOOT, 99)}, replay=replay)
    assert unsettled(statuses, streams, "pi") == [reason]


def test_what_is_missing_of_any_stream_of_the_node_is_waited_for() -> None:
    statuses, streams = settled()
    streams.append(stored(TELEMETRY, "d" * 16, 5, missing=2))
    assert unsettled(statuses, streams, "pi") == [f"ingest: 2 of {TELEMETRY} missing"]


@pytest.mark.parametrize(("stream", "last"), [(TELEMETRY, 99), (SCORES, 2), (EVENTS, 0)])
def test_every_stream_must_be_stored_to_its_end(stream: str, last: int) -> None:
    statuses, streams = settled()
    others = [s for s in streams if f"{s['kind']}." not in stream]
    assert unsettled(statuses, others, "pi") == [f"ingest: none of {stream} stored, {last} published"]
    boot = next(s["boot"] for s in streams if f"{s['kind']}." in stream)
    behind = [*others, stored(stream, boot, last - 1)]
    assert unsettled(statuses, behind, "pi") == [f"ingest: {last - 1} of {stream} stored, {last} published"]


def test_every_reader_must_have_worked_off_what_it_reads() -> None:
    statuses, streams = settled()
    statuses["inference"] = status({TELEMETRY: (BOOT, 98), SCORES: (JUDGED, 2)})
    assert unsettled(statuses, streams, "pi") == [f"inference: 98 of {TELEMETRY} worked off, 99 published"]
    statuses, streams = settled()
    statuses["alert"] = status({TELEMETRY: (BOOT, 99), EVENTS: (ALARMS, 0)})
    assert unsettled(statuses, streams, "pi") == [f"alert: none of {SCORES} worked off, 2 published"]
    statuses["alert"] = status({TELEMETRY: (BOOT, 99), SCORES: ("f" * 16, 2), EVENTS: (ALARMS, 0)})
    assert unsettled(statuses, streams, "pi") == [f"alert: 2 of {SCORES} worked off, 2 published"]
