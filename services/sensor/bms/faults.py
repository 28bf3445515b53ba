"""Why a pack is not read: the reasons that its channels carry as `fault:..`, and what they say in the log. Pure."""

from typing import Final, Literal

Reason = Literal[
    "bluetooth",
    "absent",
    "connection",
    "disconnected",
    "silent",
    "unreadable",
    "wrong_make",
    "unknown_make",
    "secret",
    "driver",
]

SENTENCES: Final[dict[Reason, str]] = {
    "bluetooth": "Bluetooth does not work here",
    "absent": "not heard: out of range, switched off, or connected to somebody else (its phone app)",
    "connection": "heard, but it does not let us connect",
    "disconnected": "the connection broke",
    "silent": "connected, but it does not answer in the protocol of this make",
    "unreadable": "it answers, but not with what this make tells",
    "wrong_make": "it has no such service: another make?",
    "unknown_make": "what it advertises does not tell its make: say which (`make`)",
    "secret": "it refuses the `secret`",
    "driver": "the driver failed",
}


class PackFailed(Exception):
    """A pack cannot be read now."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{SENTENCES[reason]}{f' ({detail})' if detail else ''}")
        self.reason: Reason = reason
