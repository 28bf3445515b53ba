"""All estimators of one device: samples in, estimates out. Pure; state in and out, so a restart changes nothing."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from services.bus.messages import Sample
from services.inference.estimators.capacity import Capacity
from services.inference.estimators.cells import Cells
from services.inference.estimators.counter import Counter
from services.inference.estimators.drift import Drift
from services.inference.estimators.heating import Heating
from services.inference.estimators.leak import Leak
from services.inference.estimators.offset import Offset
from services.inference.estimators.quantity import Kept, Quantity
from services.inference.estimators.reading import Facts, Reading, read
from services.inference.estimators.resistance import Resistance
from services.inference.estimators.rest import CHECK_S, Rest
from services.inference.estimators.soc import StateOfCharge
from services.inference.estimators.state import Anchor, Empty, Full, anchor, at_rest, difference

EACH_S: Final = 60.0  # between estimates
SOON_S: Final = 5.0  # after a change, at the earliest
REST_C: Final = 0.02  # of the capacity [1/h]: below it a device rests (C/50: 2 % in an hour, a few mV of drop)
OFFSET_C: Final = 0.002  # of the capacity: offset of a current sensor whose data sheet nobody has told
STEP_C: Final = 0.1  # of the capacity: a step of the current that tells the resistance
HELD_S: Final = 6 * 3600.0  # of a long rest one state of charge each
STATES: Final = 12  # earlier states of charge that cycles may end at
HOT: Final = 0.05  # K/s: a rate of change that is told at once
VERSION: Final = 1


class Physics:
    """Estimators of one device's telemetry stream.

    Args:
        facts: chemistry, capacity, .. of the device, as far as they are known.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._boot = ""
        self._seq = -1
        self._mono = self._base = 0.0  # device time = base + mono, over restarts of the sensor
        self._ts: datetime | None = None
        self._timed = False
        self._told_t: float | None = None
        self._news = False
        self._hot = 0.0  # rate of change as it was last told [K/s]
        self._looked = 0.0
        self._states: list[Anchor] = []
        self._pending: Anchor | None = None
        self._pending_since = 0.0
        self._counter, self._rest, self._full, self._empty = Counter(), Rest(), Full(), Empty()
        self._offset = Offset(facts.offset_a or OFFSET_C * (facts.capacity_ah or 0.0))
        self._soc, self._capacity = StateOfCharge(), Capacity(facts.capacity_ah)
        self._leak, self._resistance = Leak(facts.leak_bias_a), Resistance()
        self._cells, self._drift, self._heating = Cells(), Drift(), Heating()

    # --- samples ----------------------------------------------------------------------------------------------------

    def take(self, sample: Sample) -> bool:
        """Take the next sample, in order; return whether estimates are due. Samples taken already are passed over."""
        if sample.boot == self._boot and sample.seq <= self._seq:
            return False
        if sample.period_s is not None:
            return False  # a block of a high-rate profile: not of a battery
        t = self._time(sample)
        if t is None:
            return False
        reading = read(sample, self.facts)
        scale = self._scale()
        self._count(t, reading, scale)
        self._known(t, reading, scale)
        self._resistance.take(
            t,
            reading.current,
            reading.voltage,
            max(STEP_C * scale, 1e-3),
        )
        if reading.all_cells and reading.cells is not None and reading.current is not None:
            self._cells.take(t, reading.current, reading.cells, STEP_C * scale)
        if reading.cells is not None:
            self._drift.take(t, self._rest.age(t), reading.cells, self.facts.chemistry)
        self._heating.take(t, reading.temperature)
        return self._due(t)

    def _time(self, sample: Sample) -> float | None:
        """The sample's device time [s]; None of one that goes back."""
        timed = sample.time_source != "none"
        if sample.boot != self._boot:
            if self._boot:
                away = (sample.ts - self._ts).total_seconds() if self._ts is not None else 0.0
                known = timed and self._timed and away > 0
                if not known:
                    self._lose()
                self._base += self._mono - sample.mono + (away if known else 1.0)
            else:
                self._base = -sample.mono
            self._boot = sample.boot
        elif sample.mono < self._mono:
            self._seq = sample.seq
            return None
        self._seq, self._mono, self._ts, self._timed = sample.seq, sample.mono, sample.ts, timed
        return self._base + sample.mono

    def _lose(self) -> None:
        self._counter.lose()
        self._gap()

    def _gap(self) -> None:
        """Nobody knows what flowed: no cycle reaches over it, and no rest."""
        self._rest.end()
        self._full.taper, self._empty.low = None, False
        self._states, self._pending = [], None

    def _scale(self) -> float:
        """Capacity, or where it is not known the greatest current so far: what is much and what is little."""
        known = self._capacity.quantity
        return known.value if known is not None else self._counter.peak

    def _count(self, t: float, reading: Reading, scale: float) -> None:
        raw, offset = reading.current, self._offset
        if self.facts.offset_a is None:
            offset.largest = OFFSET_C * scale
        current = None if raw is None else raw - offset.value
        if self._counter.take(t, current, offset.error(t)):
            self._gap()
        self._rest.take(t, current, REST_C * scale, reading.mean)
        if raw is not None and offset.largest > 0:
            offset.take(t, raw, self._rest.age(t))

    def _known(self, t: float, reading: Reading, scale: float) -> None:
        """States of known charge, and what follows from them."""
        chemistry, count = self.facts.chemistry, self._counter.count
        capacity = self._capacity.quantity
        if reading.soc is not None and capacity is not None and 0 <= reading.soc <= 1:
            self._soc.told(reading.soc, count, capacity, self._leak.lost)
        if chemistry is None:
            return
        if self._rest.since is None and self._pending is not None:
            self._settle()
        if reading.current is not None and scale > 0:
            current = reading.current - self._offset.value
            full = self._full.take(
                count, current, REST_C * scale, reading.highest, reading.mean, chemistry, scale, reading.temperature
            )
            if full is not None:
                self._reset(full)
                self._close(full)
            empty = self._empty.take(
                count, current, REST_C * scale, reading.mean, chemistry, scale, reading.temperature
            )
            if empty is not None:
                self._close(empty)
        if self._rest.since is not None and t - self._looked >= CHECK_S:
            rested = at_rest(self._rest, chemistry, count, reading.temperature)
            if rested is not None:
                self._looked = t
                if self._pending is None:
                    self._pending_since = t
                self._pending = rested
                self._reset(rested)
                if t - self._pending_since >= HELD_S:
                    self._settle()

    def _reset(self, known: Anchor) -> None:
        capacity = self._capacity.quantity
        if capacity is not None:
            self._soc.reset(known, capacity, self._leak.lost)

    def _settle(self) -> None:
        """A rest is over (or long): its last state of charge ends cycles, and begins others."""
        rested, self._pending = self._pending, None
        if rested is not None:
            self._close(rested)

    def _close(self, known: Anchor) -> None:
        chemistry = self.facts.chemistry
        if chemistry is None:
            return
        learned = False
        apart = [(difference(s, known, chemistry), s) for s in self._states]
        for (change, error), state in sorted(apart, key=lambda item: item[0][1] / max(abs(item[0][0]), 1e-3)):
            if error < abs(change) and self._capacity.take(state, known, chemistry, self._leak.lost):
                learned = True
                break  # one reading from one end: others would repeat it
        capacity = self._capacity.quantity
        if capacity is not None:
            for state in reversed(self._states):
                if self._leak.take(state, known, chemistry, capacity):
                    learned = True
                    break
        place = (known.kind, round(10 * known.soc))
        self._states = [s for s in self._states if (s.kind, round(10 * s.soc)) != place][-(STATES - 1) :]
        self._states.append(known)
        self._news = self._news or learned

    # --- estimates --------------------------------------------------------------------------------------------------

    def _due(self, t: float) -> bool:
        if self._told_t is None:
            self._told_t = t  # the first estimates come after a minute
            return False
        since = t - self._told_t
        if since < SOON_S:
            return False
        if since < EACH_S and not self._news:
            heating = self._heating.quantity(t)
            if heating is None or abs(heating.value - self._hot) < max(HOT, 3 * heating.error):
                return False
        self._told_t, self._news = t, False
        heating = self._heating.quantity(t)
        self._hot = heating.value if heating is not None else 0.0
        return True

    def estimates(self) -> dict[str, Quantity]:
        """Everything that is known now, by name."""
        count = self._counter.count
        capacity = self._capacity.quantity
        found: dict[str, Quantity | None] = {
            "temperature_rate": self._heating.quantity(count.t),
            "current_offset": self._offset.quantity(count.t),
            "resistance": self._resistance.quantity,
            "cell_resistance_ratio": self._cells.ratio,
            "cell_spread_drift": None if self.facts.chemistry is not None else self._drift.quantity,
            "cell_drain": self._drift.share,
        }
        if capacity is not None:
            found["soc"] = self._soc.estimate(count, capacity, self._leak.lost)
            found["capacity"] = capacity
            leak = self._leak.quantity(capacity.value)
            if leak is not None:
                found["leak_current"] = leak
                found["leak_rate"] = Quantity(leak.value / capacity.value, leak.error / capacity.value)
                if self._leak.bias_error is not None:
                    found["leak_bias"] = Quantity(self._leak.bias, self._leak.bias_error)
        return {name: q for name, q in found.items() if q is not None}

    # --- restart ----------------------------------------------------------------------------------------------------

    @property
    def position(self) -> tuple[str, int]:
        """(boot, seq) of the last sample taken."""
        return self._boot, self._seq

    def state(self) -> dict[str, Any]:
        """What a new process needs to go on with the sample that follows (JSON-able)."""
        return {
            "version": VERSION,
            "facts": fingerprint(self.facts),
            "boot": self._boot,
            "seq": self._seq,
            "time": [self._mono, self._base, self._ts.isoformat() if self._ts else None, self._timed],
            "told": [self._told_t, self._news, self._hot, self._looked],
            "states": [s.to_list() for s in self._states],
            "pending": [self._pending.to_list() if self._pending else None, self._pending_since],
            "parts": {name: part.state() for name, part in self._parts().items()},
        }

    def restore(self, state: Mapping[str, Any]) -> bool:
        """Go on from `state`; False (and nothing taken over) when it is of other facts or another version."""
        if (state.get("version"), state.get("facts")) != (VERSION, fingerprint(self.facts)):
            return False
        for name, part in self._parts().items():
            part.restore(state["parts"][name])
        self._boot, self._seq = state["boot"], state["seq"]
        self._mono, self._base, ts, self._timed = state["time"]
        self._ts = datetime.fromisoformat(ts) if ts else None
        self._told_t, self._news, self._hot, self._looked = state["told"]
        self._states = [anchor(s) for s in state["states"]]
        pending, self._pending_since = state["pending"]
        self._pending = anchor(pending) if pending else None
        return True

    def _parts(self) -> dict[str, Kept]:
        return {
            "counter": self._counter, "rest": self._rest, "full": self._full, "empty": self._empty,
            "offset": self._offset,
            "soc": self._soc, "capacity": self._capacity, "capacity_walk": self._capacity.walk, "leak": self._leak,
            "leak_walk": self._leak.walk, "resistance": self._resistance, "cells": self._cells,
            "drift": self._drift,
            "heating": self._heating,
        }  # fmt: skip


def fingerprint(facts: Facts) -> str:
    """Changes with what was told of a device: estimates made under other facts are not gone on with."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
