"""Past messages in blocks: telemetry as columns, other streams as whole messages. Pure."""

from collections.abc import Iterator
from typing import Any, Final

from pydantic import ValidationError

from services.bus.messages import MAX_PAYLOAD, Backfill, Sample

BLOCK_BYTES: Final = MAX_PAYLOAD * 3 // 4
Block = list[tuple[int, dict[str, Any]]]  # (seq, message), ascending


def blocks(kind: str, found: list[tuple[int, bytes, dict[str, Any]]]) -> Iterator[Block]:
    """Cut messages (seq, payload, the same parsed) into blocks that fit into a publication.

    A block of telemetry has one layout and one time source, for they stand in it once.
    """
    block: Block = []
    size, last = 0, None
    for seq, payload, message in found:
        alike = _columns_of(message) if kind == "telemetry" else None
        if block and (size + len(payload) > BLOCK_BYTES or alike != last):
            yield block
            block, size = [], 0
        block.append((seq, message))
        size, last = size + len(payload), alike
    if block:
        yield block


def _columns_of(sample: dict[str, Any]) -> tuple[Any, ...]:
    """What samples of one block have in common."""
    return sample.get("layout"), sample.get("time_source", "ntp"), _as_columns(sample)


def _as_columns(sample: dict[str, Any]) -> bool:
    """High-rate samples are blocks themselves and travel whole; so do those of a rest, which say how long they hold,
    and wrong ones, which would spoil the others."""
    try:
        Sample.model_validate(sample)
    except ValidationError:
        return False
    return "period_s" not in sample and "next_s" not in sample and bool(sample["channels"])


def to_backfill(kind: str, boot: str, block: Block, missing: list[tuple[int, int]]) -> dict[str, Any]:
    """A block of past messages as the fields of a Backfill."""
    message: dict[str, Any] = {"boot": boot, "seq": [seq for seq, _ in block]}
    if missing:
        message["missing"] = missing
    samples = [m for _, m in block]
    if not samples:
        return message
    if kind != "telemetry" or not _as_columns(samples[0]):
        return message | {"messages": samples}
    names = dict.fromkeys(name for sample in samples for name in sample["channels"])
    message |= {
        "layout": samples[0]["layout"],
        "time_source": samples[0].get("time_source", "ntp"),
        "ts": [s["ts"] for s in samples],
        "mono": [s["mono"] for s in samples],
        "channels": {name: [s["channels"].get(name) for s in samples] for name in names},
        "quality": {str(i): s["quality"] for i, s in enumerate(samples) if s.get("quality")},
    }
    return message


def from_backfill(message: Backfill) -> list[dict[str, Any]]:
    """The messages of a block, as the fields that `read` would have given. Raises ValueError on ragged columns."""
    if message.messages:
        if len(message.messages) != len(message.seq):
            raise ValueError(f"{len(message.messages)} messages for {len(message.seq)} seqs")
        pairs = zip(message.seq, message.messages, strict=True)
        return [m | {"boot": message.boot, "seq": seq} for seq, m in pairs]
    if not message.seq:
        return []
    lengths = {len(message.seq), len(message.ts), len(message.mono), *(len(c) for c in message.channels.values())}
    if len(lengths) != 1:
        raise ValueError(f"columns of different lengths: {sorted(lengths)}")
    return [
        {
            "boot": message.boot,
            "seq": seq,
            "ts": message.ts[i],
            "mono": message.mono[i],
            "time_source": message.time_source or "ntp",
            "layout": message.layout,
            "channels": {name: column[i] for name, column in message.channels.items()},
            "quality": message.quality.get(str(i), {}),
        }
        for i, seq in enumerate(message.seq)
    ]
