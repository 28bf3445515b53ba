"""Training's tests share a machine: one thread each. So small nets lose by more, and other tests lose their time."""

import torch

torch.set_num_threads(1)
