"""Six faults of a pack, graded. Pure: a fault's size at a moment is given, the packs or sensors are changed by it.

| fault | size | unit |
|---|---|---|
| internal_short | resistance between a cell's electrodes, 5 to 1000 | ohm |
| joint | resistance added to a cell's joint, 0.2 to 5 | milliohm |
| capacity_fade | lost share of a cell's capacity, 0.05 to 0.3 | 1 |
| imbalance | SoC by which a cell is off the others (negative: below) 0.02 to 0.2 | 1 |
| cooling_loss | lost share of the cooling of a module, 0.3 to 1 | 1 |
| sensor_drift | drift in units of the largest error of the data sheet, 2 to 20 | 1 |
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from services.sensor.simulated.measuring import ADS1115_STEPS, DS18B20_ERROR_MAX, Sensors
from services.sensor.simulated.pack import Packs

Kind = Literal["internal_short", "joint", "capacity_fade", "imbalance", "cooling_loss", "sensor_drift"]
Sensor = Literal["cell", "probe", "current"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
RANGES: Final[dict[Kind, tuple[float, float]]] = {
    "internal_short": (5.0, 1000.0),
    "joint": (0.2, 5.0),
    "capacity_fade": (0.05, 0.3),
    "imbalance": (0.02, 0.2),
    "cooling_loss": (0.3, 1.0),
    "sensor_drift": (2.0, 20.0),
}
CELL_ERROR_MAX: Final = 0.0015  # gain error of an ADS1115, at most
CELL_TYPICAL_V: Final = 3.7
CURRENT_ERROR_MAX: Final = 0.006  # of the shunt's full scale
MODULE: Final = 12  # cells that share a cooling channel
FADE_RESISTANCE: Final = 1.5  # a cell that has lost 10 % of its capacity has 15 % more resistance


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one pack.

    Args:
        size: in the unit of its kind (see above), as it is when it has fully grown.
        cell: which cell; of `cooling_loss` any of its module, of `sensor_drift` the cell or the probe.
        sensor: of a drift.
    """

    kind: Kind
    size: float
    cell: int = 0
    sensor: Sensor = "cell"

    def __post_init__(self) -> None:
        low, high = RANGES[self.kind]
        if not low <= abs(self.size) <= high or (self.size < 0 and self.kind not in ("imbalance", "sensor_drift")):
            raise ValueError(f"{self.kind}: size {self.size:g} is not within {low:g}..{high:g}")

    def at(self, grown: float) -> float:
        """The size when a share of 0..1 has grown: a short's conductance grows, all others grow themselves."""
        if self.kind == "internal_short":
            return self.size / grown if grown > 0 else float("inf")
        return self.size * grown


def apply(fault: Fault, grown: float, pack: int, packs: Packs, sensors: Sensors, healthy: "Healthy") -> None:
    """Set pack number `pack` to what it is with the fault grown to a share of 0..1; `healthy` is what it was without.

    SoC is not touched (see `offset`): it is a consequence that takes time.
    """
    cell, size = fault.cell, fault.at(grown)
    if fault.kind == "internal_short":
        packs.leak_s[pack, cell] = 1.0 / size
    elif fault.kind == "joint":
        packs.joint_ohm[pack, cell] = 1e-3 * size
    elif fault.kind == "capacity_fade":
        packs.capacity_ah[pack, cell] = healthy.capacity_ah[pack, cell] * (1 - size)
        packs.resistance[pack, cell] = healthy.resistance[pack, cell] * (1 + FADE_RESISTANCE * size)
    elif fault.kind == "cooling_loss":
        module = module_of(cell, packs.voltage.shape[1])
        packs.cooling_w_k[pack, module] = healthy.cooling_w_k[pack, module] * (1 - size)
    elif fault.kind == "sensor_drift":
        if fault.sensor == "cell":
            sensors.cell_offset[pack, cell] = healthy.cell_offset[pack, cell] + size * CELL_ERROR_MAX * CELL_TYPICAL_V
        elif fault.sensor == "probe":
            sensors.probe_offset[pack, cell] = healthy.probe_offset[pack, cell] + size * DS18B20_ERROR_MAX
        else:
            full_scale = sensors.current_step * ADS1115_STEPS
            sensors.current_offset[pack] = healthy.current_offset[pack] + size * CURRENT_ERROR_MAX * full_scale


def module_of(cell: int, cells: int) -> slice:
    first = cell - cell % MODULE
    return slice(first, min(first + MODULE, cells))


@dataclass(slots=True)
class Healthy:
    """What packs and sensors were without a fault: copies, so that a fault may grow and shrink."""

    capacity_ah: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    resistance: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    cooling_w_k: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    cell_offset: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    probe_offset: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    current_offset: np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def remember(packs: Packs, sensors: Sensors) -> Healthy:
    return Healthy(
        packs.capacity_ah.copy(),
        packs.resistance.copy(),
        packs.cooling_w_k.copy(),
        sensors.cell_offset.copy(),
        sensors.probe_offset.copy(),
        sensors.current_offset.copy(),
    )
