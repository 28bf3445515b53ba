"""The estimators of all devices: telemetry in, estimate messages out. Pure.

A state is kept with every estimate, so that neither can be without the other, and at the first sample of each process
start of the sensor; after a restart the samples since are delivered again, and give the same estimates.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from services.bus.counters import Counters
from services.bus.messages import Sample, format_time
from services.bus.topics import Topic
from services.inference.estimators.physics import Physics
from services.inference.estimators.quantity import Quantity
from services.inference.estimators.reading import Facts

log = logging.getLogger(__name__)

PROFILE: Final = "battery"
DIGITS: Final = 6  # significant
Remember = Callable[[str, dict[str, Any]], None]
Recall = Callable[[str], dict[str, Any] | None]


class Estimators:
    """One `Physics` a device.

    Args:
        facts: by device; one that nobody has told anything of is estimated as far as that goes.
        remember: keeps a state, together with the next message that is published.
        recall: gives it back after a restart.
    """

    def __init__(self, facts: Mapping[str, Facts], counters: Counters, remember: Remember, recall: Recall) -> None:
        self._facts, self._counters, self._remember, self._recall = facts, counters, remember, recall
        self._devices: dict[Topic, Physics] = {}

    def sample(self, stream: Topic, sample: Sample) -> Iterator[tuple[Topic, dict[str, Any]]]:
        """Take the next sample of a stream, in order; yield the estimate that is due with it, mostly none.

        Exhaust it, and publish what it yields before anything else: its state has been remembered just before.
        """
        if stream.name != PROFILE:
            return
        physics = self._devices.get(stream)
        if physics is None:
            physics = self._devices[stream] = self._begin(stream)
        new = sample.boot != physics.position[0]
        due = physics.take(sample)
        if new or due:
            self._remember(state_name(stream), physics.state())
        if due:
            values = {name: _fields(quantity) for name, quantity in physics.estimates().items()}
            if values:
                self._counters.add("estimates")
                yield (
                    Topic(stream.node, stream.device, "estimate", stream.name),
                    {
                        "ts": format_time(sample.ts),
                        "mono": sample.mono,
                        "of": {"boot": sample.boot, "seq": sample.seq},
                        "values": values,
                    },
                )

    def needed(self, stream: Topic) -> tuple[str, int] | None:
        """(boot, first seq) from which a stream must be delivered again after a restart."""
        state = self._recall(state_name(stream)) if stream.name == PROFILE else None
        return (str(state["boot"]), int(state["seq"]) + 1) if state is not None else None

    def _begin(self, stream: Topic) -> Physics:
        physics = Physics(self._facts.get(stream.device, Facts()))
        state = self._recall(state_name(stream))
        if state is not None:
            try:
                known = physics.restore(state)
            except (KeyError, TypeError, ValueError) as error:
                log.warning("%s: the kept state of its estimators cannot be used (%r); they begin anew", stream, error)
                physics, known = Physics(self._facts.get(stream.device, Facts())), True
            if not known:
                log.info("%s: told otherwise of than before; its estimators begin anew", stream)
        return physics


def earliest(one: tuple[str, int] | None, other: tuple[str, int] | None, past: list[str]) -> tuple[str, int] | None:
    """Which of two positions of a stream comes first.

    Args:
        past: process starts that are over: one of them comes before the present one.
    """
    if one is None or other is None:
        return one if other is None else other
    if one[0] == other[0]:
        return min(one, other)
    return one if one[0] in past else other


def state_name(stream: Topic) -> str:
    return f"physics {stream}"


def _fields(quantity: Quantity) -> dict[str, float]:
    return {"value": _round(quantity.value), "error": _round(quantity.error)}


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
