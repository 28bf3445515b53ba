"""The JSON line at the end of `up --until-done`: what was published against what is stored. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def quantile(values: Sequence[float], part: float) -> float | None:
    """Nearest-rank quantile; None of nothing."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 3) if ordered else None


def summarize(
    device: str,
    recorded: Iterable[str],
    stored: Iterable[str],
    lost: int,
    scores: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Compare the recording's times with the database's as multisets; list every raise of an alarm.

    Args:
        recorded, stored: times, ISO 8601 with milliseconds.
        scores: items of GET ../scores; events: items of GET /alarms/history, in order.
    """
    wanted, found = Counter(recorded), Counter(stored)
    latencies = [s["latency_ms"] for s in scores if s["latency_ms"] is not None]
    ends = {e["occurrence"]: e["alarm"]["state"] for e in events if e["occurrence"]}
    return {
        "device": device,
        "published": wanted.total(),
        "stored": found.total(),
        "missing": (wanted - found).total(),
        "lost": lost,
        "duplicates": (found - wanted).total(),
        "scores": len(scores),
        "alarms": [
            {
                "rule": e["rule"],
                "channel": (e["alarm"]["evidence"] or {}).get("channel"),
                "ts": e["alarm"]["raised_at"],
                "severity": e["alarm"]["severity"],
                "state": ends[e["occurrence"]],
            }
            for e in events
            if e["type"] == "raised"
        ],
        "latency_ms": {"p50": quantile(latencies, 0.50), "p99": quantile(latencies, 0.99)},
    }


def complete(summary: Mapping[str, Any]) -> bool:
    return summary["stored"] == summary["published"] and not any(
        summary[name] for name in ("missing", "lost", "duplicates")
    )
