"""Windows as tensors: what every net of this folder is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.errors import DataError


@dataclass(frozen=True, slots=True)
class Snippets:
    """Scaled windows with what a training needs to know of each.

    Args:
        window: (n, steps, columns) float32, scaled as the bundle's manifest says, held where not measured.
        mask: the same shape, 1 = measured.
        weight: (n,) how often each is drawn, relative.
        mileage: (n,) km; NaN = not known.
    """

    window: Tensor
    mask: Tensor
    weight: Tensor
    mileage: Tensor

    def __len__(self) -> int:
        return len(self.window)

    def at(self, index: Tensor, device: torch.device | None = None) -> "Snippets":
        """Those windows (rows of `index`), on that device."""
        parts = (self.window, self.mask, self.weight, self.mileage)
        return Snippets(*(part[index].to(device or part.device) for part in parts))


def scaled(
    values: NDArray[np.float32], mask: NDArray[np.float32], offset: Sequence[float], scale: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """As services/inference/bundle.py scales before the graph: (value - offset) x (1 / scale)."""
    factor = (1.0 / np.asarray(scale)).astype(np.float32)
    window = (values - np.asarray(offset, dtype=np.float32)) * factor
    return torch.from_numpy(window), torch.from_numpy(mask.astype(np.float32))


def join(sets: Sequence[Snippets]) -> Snippets:
    """Put sets together. Raises DataError when there is no window at all."""
    filled = [part for part in sets if len(part)]
    if not filled:
        raise DataError("training", "windows", "there is none: the recordings are too short or too full of holes")
    names = ("window", "mask", "weight", "mileage")
    return Snippets(*(torch.cat([getattr(part, name) for part in filled]) for name in names))
