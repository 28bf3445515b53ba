"""The JSON line at the end of `up --until-done`: what was published against what is stored. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.bus.topics import NODE_DEVICE

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """What belongs to one replay: the data folder and the database may hold earlier ones, and other devices.

    Args:
        boot: of the replay.
        began: when the system was started.
        started: boots of all services of the node that ran since.
    """

    device: str
    boot: str
    began: datetime
    started: frozenset[str] = frozenset()

    def scored(self, score: Item) -> bool:
        """Takes an item of GET ../scores."""
        return bool(score["window"]["boot"] == self.boot)

    def raised(self, event: Item) -> bool:
        """A raise by this recording, or (silence has no sample) of the device or the node itself since the start.

        Takes an item of GET /alarms/history.
        """
        if event["type"] != "raised" or event["device"] not in (self.device, NODE_DEVICE):
            return False
        evidence = event["alarm"]["evidence"] or {}
        cause = evidence.get("window") or evidence.get("sample")
        if cause is not None:
            return bool(cause["boot"] == self.boot)
        return datetime.fromisoformat(event["alarm"]["raised_at"]) >= self.began

    def lost(self, streams: Iterable[Item]) -> int:
        """Messages lost for good of this replay and of what was made of it; takes the items of GET /streams."""
        return sum(s["lost"] for s in streams if s["boot"] == self.boot or s["boot"] in self.started)


def quantile(values: Sequence[float], part: float) -> float | None:
    """Nearest-rank quantile; None of nothing."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 3) if ordered else None


def summarize(
    run: Run,
    recorded: Iterable[str],
    stored: Iterable[str],
    streams: Iterable[Item],
    scores: Iterable[Item],
    events: Sequence[Item],
) -> dict[str, Any]:
    """Compare the recording's times with the database's as multisets; list every raise of an alarm.

    Args:
        run: whose scores, alarms and losses count.
        recorded, stored: times of the replay's rows, ISO 8601 with milliseconds.
        streams, scores, events: items of GET /streams, ../scores, and /alarms/history in order.
    """
    wanted, found = Counter(recorded), Counter(stored)
    own = [s for s in scores if run.scored(s)]
    latencies = [s["latency_ms"] for s in own if s["latency_ms"] is not None]
    ends = {e["occurrence"]: e["alarm"]["state"] for e in events if e["occurrence"]}
    return {
        "device": run.device,
        "published": wanted.total(),
        "stored": found.total(),
        "missing": (wanted - found).total(),
        "lost": run.lost(streams),
        "duplicates": (found - wanted).total(),
        "scores": len(own),
        "alarms": [
            {
                "rule": e["rule"],
                "channel": (e["alarm"]["evidence"] or {}).get("channel"),
                "ts": e["alarm"]["raised_at"],
                "severity": e["alarm"]["severity"],
                "state": ends[e["occurrence"]],
            }
            for e in events
            if run.raised(e)
        ],
        "latency_ms": {"p50": quantile(latencies, 0.50), "p99": quantile(latencies, 0.99)},
    }


def complete(summary: Mapping[str, Any]) -> bool:
    return summary["stored"] == summary["published"] and not any(
        summary[name] for name in ("missing", "lost", "duplicates")
    )
