"""Distillation: a student whose targets are in part a teacher's reconstruction."""

import torch
from torch import Tensor

from training.models.conv import ConvDyad, Size
from training.models.pack import PackDyad


class Pupil(ConvDyad):
    """Args: share: part of each target that is the teacher's; its features must be those of the same windows."""

    def __init__(
        self, size: Size, teacher: PackDyad, share: float, kl_weight: float = 1e-2, kl_steps: int = 800
    ) -> None:
        super().__init__(size, kl_weight, kl_steps)
        self.share = share
        self._teacher = [teacher.eval()]  # in a list: its parameters are not the student's

    def target(self, window: Tensor, rest: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.lerp(rest, self._teacher[0].reconstruct(window)[1], self.share)
