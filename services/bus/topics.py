"""Topic names: `emberwatch/v1/{node}/{device}/{kind}/{name}`.

`node` as the device part is the node itself. Every part is validated when a Topic is made, so a Topic in hand is a
topic that may be published.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, Self, get_args

from services.bus.errors import PayloadError

PREFIX: Final = "emberwatch/v1"
NODE_DEVICE: Final = "node"  # the reserved device name of the node itself
CLOUD_NODE: Final = "cloud"  # the reserved node name under which the server publishes
MAX_NAME: Final = 64

Kind = Literal[
    "telemetry",
    "estimate",
    "score",
    "event",
    "alarm",
    "layout",
    "status",
    "journal",
    "backfill",
    "request",
    "command",
    "reply",
]
KINDS: Final = frozenset[str](get_args(Kind))
STREAM_KINDS: Final = ("telemetry", "estimate", "score", "event")
RETAINED_KINDS: Final = frozenset({"alarm", "layout", "status", "journal"})
PUBLISHER: Final = {"telemetry": "sensor", "estimate": "inference", "score": "inference", "event": "alert"}
"""Which service of a node publishes a stream kind, and so answers `backfill` and `confirm` for it."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*\Z", re.ASCII)


def check_name(what: str, name: str) -> str:
    """Return `name` if it may be a part of a topic, a folder and a database key, else raise ValueError.

    Lower-case letters, digits, `_`, `-` and `.`; starts with a letter or digit; at most 64 characters. So neither the
    MQTT wildcards `+ #`, nor `/`, nor `$` (broker topics), nor blanks can occur.
    """
    if len(name) > MAX_NAME or not _NAME.match(name):
        raise ValueError(
            f"{what} {name[:80]!r}: use 1 to {MAX_NAME} of a-z 0-9 _ - . and begin with a letter or a digit"
        )
    return name


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of this project, taken apart.

    Raises:
        ValueError: a part is no valid name, or the kind is unknown.
    """

    node: str
    device: str
    kind: str
    name: str

    def __post_init__(self) -> None:
        for what in ("node", "device", "name"):
            check_name(what, getattr(self, what))
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind[:80]!r} is none of {', '.join(sorted(KINDS))}")

    def __str__(self) -> str:
        return f"{PREFIX}/{self.node}/{self.device}/{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a topic apart. Raises PayloadError naming the topic and what is wrong with it."""
        parts = text.split("/")
        if len(parts) != 6 or "/".join(parts[:2]) != PREFIX:
            raise PayloadError(text[:200], f"not of the form {PREFIX}/node/device/kind/name")
        try:
            return cls(*parts[2:])
        except ValueError as error:
            raise PayloadError(text[:200], str(error)) from None

    @property
    def stream(self) -> str:
        """Name of the stream in journal, backfill and command messages: `telemetry.battery`."""
        return f"{self.kind}.{self.name}"

    def of_stream(self, kind: str) -> "Topic":
        """The `journal` or `backfill` topic that belongs to this stream."""
        return Topic(self.node, self.device, kind, self.stream)

    def stream_topic(self) -> "Topic":
        """The stream that a `journal` or `backfill` topic speaks of. Raises PayloadError when it names none."""
        kind, dot, name = self.name.partition(".")
        if not dot or kind not in STREAM_KINDS:
            raise PayloadError(
                str(self),
                f"{self.name!r} names no stream; expected kind.name with kind one of {', '.join(STREAM_KINDS)}",
            )
        return Topic(self.node, self.device, kind, name)


def topic_filter(node: str = "+", device: str = "+", kind: str = "+", name: str = "+") -> str:
    """A subscription filter; parts left out match anything."""
    return f"{PREFIX}/{node}/{device}/{kind}/{name}"
