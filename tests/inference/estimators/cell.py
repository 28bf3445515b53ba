"""A cell that is one equation, and its samples: what the estimators must find is known."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from services.bus.messages import Sample, Values
from services.inference.estimators.chemistry import Chemistry, load_chemistry

BOOT, OTHER = "0" * 16, "1" * 16
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY_S = 86_400.0


def sample(seq: int, t: float, channels: dict[str, Values], boot: str = BOOT, **fields: object) -> Sample:
    given: dict[str, object] = {
        "boot": boot, "seq": seq, "ts": BEGIN + timedelta(seconds=t), "mono": t, "layout": "0" * 8,
        "channels": channels, "quality": {},
    }  # fmt: skip
    return Sample.model_validate(given | fields)


@dataclass
class Cell:
    """A day: rest, an hour's discharge at C/2, rest, a charge to full (C/3, 4.2 V, until C/20), rest.

    Args:
        leak: A, beside the current sensor. offset, noise: of that sensor [A].
    """

    capacity: float = 2.6
    resistance: float = 0.04
    leak: float = 0.0
    offset: float = 0.0
    noise: float = 0.002
    soc: float = 0.6
    chemistry: Chemistry = field(default_factory=lambda: load_chemistry("NMC"))

    def samples(self, days: float, period_s: float = 30.0, seed: int = 0) -> Iterator[tuple[Sample, float]]:
        """Samples and the true state of charge."""
        draw, full = np.random.default_rng(seed), False
        for seq in range(int(days * DAY_S / period_s)):
            t = seq * period_s
            hour = t % DAY_S / 3600
            ocv = self.chemistry.voltage_at(min(max(self.soc, 0.0), 1.0))
            current = 0.0
            if 3 <= hour < 4:
                current, full = -self.capacity / 2, False
            elif 8 <= hour < 14 and not full:
                current = min(self.capacity / 3, (self.chemistry.full_v - ocv) / self.resistance)
                full = current < self.capacity / 20
            self.soc += (current - self.leak) * period_s / 3600 / self.capacity
            voltage = ocv + self.resistance * current
            channels: dict[str, Values] = {
                "voltage": float(voltage + draw.normal(0, 0.0005)),
                "current": float(current + self.offset + draw.normal(0, self.noise)),
                "temperature_max": 25.0,
            }
            yield sample(seq, t, channels), self.soc
