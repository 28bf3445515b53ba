"""A model's score over k of n windows. Pure: the model scores, this decides."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class KofN:
    """Active when at least `k` of the last `n` windows were beyond; clears when at most `clear_k` are.

    One strange window is noise more often than not; a fault shows in most of them.
    """

    k: int
    n: int
    clear_k: int = 0
    active: bool = False
    windows: deque[bool] = field(default_factory=deque)

    def update(self, beyond: bool) -> bool:
        """Take the next window; return whether active."""
        self.windows.append(beyond)
        while len(self.windows) > self.n:
            self.windows.popleft()
        count = sum(self.windows)
        if count >= self.k:
            self.active = True
        elif count <= self.clear_k:
            self.active = False
        return self.active

    def to_list(self) -> list[object]:
        return [self.active, list(self.windows)]

    def restore(self, state: list[object]) -> None:
        self.active = bool(state[0])
        self.windows = deque(bool(w) for w in state[1])  # type: ignore[attr-defined]
