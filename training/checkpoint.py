"""Checkpoints: a training that is killed anywhere goes on to the same result.

What is saved is all that a step depends on: the nets, optimizer and schedule, the states of every random generator,
and how far it is. A file replaces the one before it whole or not at all. It is taken up only by the same training
(configuration, data, versions), on the same number of threads and kind of device: another would not give the same
result, and says so.
"""

import json
import os
import platform
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch

from services.bus.errors import EmberwatchError

FORMAT: Final = 1


class CheckpointError(EmberwatchError):
    """A checkpoint that this training cannot go on from. Names the file and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


class Stateful(Protocol):
    """A net, an optimizer, a learning-rate schedule."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


class Checkpoint:
    """The state of one training loop in one file.

        checkpoint = Checkpoint(path, recipe, {"net": net, "optimizer": optimizer, "schedule": schedule}, [generator])
        losses = checkpoint.resume() if resume else []
        for step in range(checkpoint.step, recipe.steps):
            ...
            losses.append(..)
            checkpoint.after(step, losses)

    Args:
        path: the file; its folder is made.
        recipe: what makes this training this one and no other (configuration, data's digest), JSON-able.
        parts: all that learns, by name. Their shapes must be those of the file.
        generators: torch.Generator and numpy.random.Generator objects in use, in a fixed order. The global ones of
            torch, NumPy and Python are saved too.
        every: steps from one save to the next; the most that a kill can cost.
    """

    def __init__(
        self,
        path: Path,
        recipe: Mapping[str, Any],
        parts: Mapping[str, Stateful],
        generators: Sequence[torch.Generator | np.random.Generator] = (),
        every: int = 200,
    ) -> None:
        self._path, self._parts, self._generators, self._every = path, parts, generators, every
        self._recipe = json.loads(json.dumps(dict(recipe)))
        self.step = 0

    def resume(self) -> Any:
        """Take up where the last save left off: set `step`, restore all parts, return the record of that save.

        Returns an empty list, and changes nothing, when there is no file.
        Raises:
            CheckpointError: the file is damaged, or of another training; says in what they differ.
        """
        if not self._path.exists():
            return []
        try:
            state = torch.load(self._path, map_location="cpu", weights_only=True)
            found = json.loads(state["about"])
        except Exception as error:  # torch and pickle raise many classes for a damaged file
            raise CheckpointError(self._path, f"unreadable ({' '.join(str(error).split())[:160]})") from None
        for key, value in self._about().items():
            if found.get(key) != value:
                raise CheckpointError(self._path, f"is of another training: {_difference(key, found.get(key), value)}")
        try:
            for name, part in self._parts.items():
                part.load_state_dict(state["parts"][name])
            _set_random(state["random"], self._generators)
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(self._path, f"does not fit: {' '.join(str(error).split())[:160]}") from None
        self.step = int(state["step"])
        return json.loads(state["record"])

    def after(self, step: int, record: Any = ()) -> None:
        """Note that `step` (0, 1, ..) is done; save when it is due. `record`: what `resume` gives back, JSON-able."""
        self.step = step + 1
        if self.step % self._every == 0:
            self.save(record)

    def save(self, record: Any = ()) -> None:
        """Save now (at the end of a stage, so that a resumed training passes it over)."""
        state = {
            "about": json.dumps(self._about()),
            "step": self.step,
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
            "random": _random(self._generators),
            "record": json.dumps(record),
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(self._path, lambda unfinished: torch.save(state, unfinished))

    def _about(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "recipe": self._recipe,
            "torch": torch.__version__,
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "device": "cuda" if torch.cuda.is_available() else "cpu",
        }


def replace_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a file beside `path`, then put it in its place: a kill leaves the old one or the new one."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    write(unfinished)
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


def _random(generators: Sequence[torch.Generator | np.random.Generator]) -> dict[str, Any]:
    """States of the global generators and of these, of types that a restricted load accepts."""
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": json.dumps(np.random.get_state(legacy=False), default=_plain),
        "python": json.dumps(random.getstate()),
        "own": [
            g.get_state() if isinstance(g, torch.Generator) else json.dumps(g.bit_generator.state, default=_plain)
            for g in generators
        ],
    }


def _set_random(state: dict[str, Any], generators: Sequence[torch.Generator | np.random.Generator]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    numpy_state = json.loads(state["numpy"])
    numpy_state["state"]["key"] = np.array(numpy_state["state"]["key"], dtype=np.uint32)
    np.random.set_state(numpy_state)
    version, internal, gauss = json.loads(state["python"])
    random.setstate((version, tuple(internal), gauss))
    for generator, saved in zip(generators, state["own"], strict=True):
        if isinstance(generator, torch.Generator):
            generator.set_state(saved)
        else:
            generator.bit_generator.state = json.loads(saved)


def _plain(value: Any) -> Any:
    """NumPy's arrays and numbers for JSON."""
    return value.tolist()


def _difference(key: str, found: Any, wanted: Any) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in sorted(found.keys() | wanted.keys()):
            if found.get(name) != wanted.get(name):
                return _difference(name, found.get(name), wanted.get(name))
    return f"{key} was {found!r}, is {wanted!r}"
