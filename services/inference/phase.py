"""Phases of a cell's life: a charge or a discharge, found in live data, and what is counted since it began. Pure.

A phase begins with the first step whose mean current is more than C/50, in the direction of that current. It ends
after a rest of two minutes, or when charge worth 1 % of the capacity has come back: a driving profile's regenerative
pulses (0.2 % in DST) and red lights stay inside. A phase that begins by such a turn is counted from the step at which
the charge turned, which is known a little later; so both are counted meanwhile. All of it is O(1) a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

ON: Final = 0.02  # of the capacity an hour (C-rate); a smaller current is a rest
REST_S: Final = 120.0
TURN: Final = 0.01  # of the capacity


class Cell(BaseModel):
    """What must be known of a single cell beyond its readings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    capacity_ah: float = Field(gt=0, description="Nominal capacity [Ah].")
    chemistry: str = Field(min_length=1, description="As bundles name it: NMC811, .. (NCM811 is the same).")

    @field_validator("chemistry")
    @classmethod
    def _one_spelling(cls, value: str) -> str:
        return value.upper().replace("NCM", "NMC")


@dataclass(slots=True)
class Count:
    """What is counted since a phase began. Charge and currents are fractions of the capacity (and per hour)."""

    first_voltage: float
    first_c_rate: float
    averages: list[float]  # exponential averages of the current; they begin at 0, as after a long rest
    time_s: float = 0.0
    charge: float = 0.0  # signed as current is

    def add(self, c_rate: float, moved: float, step_s: float, keep: Sequence[float]) -> None:
        self.time_s += step_s
        self.charge += moved
        self.averages = [k * old + (1.0 - k) * c_rate for k, old in zip(keep, self.averages, strict=True)]

    def as_list(self) -> list[float]:
        return [self.first_voltage, self.first_c_rate, self.time_s, self.charge, *self.averages]

    @classmethod
    def from_list(cls, numbers: Sequence[float]) -> "Count":
        return cls(numbers[0], numbers[1], list(numbers[4:]), numbers[2], numbers[3])


@dataclass(frozen=True, slots=True)
class Phase:
    """Where a step stands in its phase."""

    direction: int  # 1 = charge, -1 = discharge
    number: int  # 0, 1, 2, .. since it was known that this phase has begun
    c_rate: float  # mean of the step
    count: Count


class Phases:
    """Follows one cell from step to step.

    Args:
        cell: its nominal capacity scales everything.
        step_s: time between steps [s].
        seconds: time constants of the averages of the current [s].
    """

    def __init__(self, cell: Cell, step_s: float, seconds: Sequence[float]) -> None:
        self._capacity, self._step_s = cell.capacity_ah, step_s
        self._keep = [exp(-step_s / s) for s in seconds]
        self.reset()

    def reset(self) -> None:
        """Forget everything: what came before is not known."""
        self._direction, self._number = 0, 0
        self._rest_s = self._extreme = self._counted = 0.0
        self._count: Count | None = None
        self._turn: Count | None = None

    def add(self, voltage: float, current: float, counted: float) -> Phase | None:
        """Take the next step.

        Args:
            voltage: its mean [V].
            current: its mean [A], positive = charging.
            counted: charge at its end, counted since the last `reset` [Ah].
        Returns:
            the phase; None at rest.
        """
        c_rate = current / self._capacity
        moved, self._counted = (counted - self._counted) / self._capacity, counted
        resting = abs(c_rate) < ON
        self._rest_s = self._rest_s + self._step_s if resting else 0.0
        if self._rest_s > REST_S:
            self._direction, self._count, self._turn = 0, None, None
        if self._count is None:
            if resting:
                return None
            self._begin(self._new(voltage, c_rate), 1 if c_rate > 0 else -1)
        assert self._count is not None
        self._number += 1
        self._count.add(c_rate, moved, self._step_s, self._keep)
        if self._count.charge * self._direction >= self._extreme:
            self._extreme, self._turn = self._count.charge * self._direction, None
        else:
            if self._turn is None:
                self._turn = self._new(voltage, c_rate)
            self._turn.add(c_rate, moved, self._step_s, self._keep)
            if -self._turn.charge * self._direction >= TURN:
                self._begin(self._turn, -self._direction)
                self._number += 1
        return Phase(self._direction, self._number - 1, c_rate, self._count)

    def state(self) -> tuple[Any, ...]:
        """All that `add` depends on (JSON-able)."""
        counts = [None if count is None else count.as_list() for count in (self._count, self._turn)]
        return (self._direction, self._number, self._rest_s, self._extreme, self._counted, *counts)

    def restore(self, state: Sequence[Any]) -> None:
        """Go back to a `state`. Raises TypeError or ValueError when it is none."""
        self._direction, self._number, self._rest_s, self._extreme, self._counted, count, turn = state
        self._count = None if count is None else Count.from_list(count)
        self._turn = None if turn is None else Count.from_list(turn)

    def _new(self, voltage: float, c_rate: float) -> Count:
        return Count(voltage, c_rate, [0.0] * len(self._keep))

    def _begin(self, count: Count, direction: int) -> None:
        self._count, self._direction, self._number, self._turn = count, direction, 0, None
        self._extreme = count.charge * direction
