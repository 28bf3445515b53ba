"""Known layouts: memory before the store. A layout is found by (profile, hash), whichever device published it."""

import json
from typing import Any, Final

from services.bus.errors import PayloadError
from services.bus.messages import Layout, LayoutChannel
from services.bus.topics import Topic
from services.ingest.rows import StoredLayout

_ADD: Final = """
INSERT INTO layout (profile, hash, version, period_s, channels) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"""
_FIND: Final = "SELECT id, version, period_s, channels FROM layout WHERE profile = $1 AND hash = $2"
_DEVICE: Final = """
INSERT INTO device (node, device, profile, layout, updated_at) VALUES ($1, $2, $3, $4, now())
ON CONFLICT (node, device, profile) DO UPDATE SET layout = excluded.layout, updated_at = now()
WHERE device.layout <> excluded.layout"""


class Layouts:
    """Layouts by profile and hash. `pool` is an asyncpg pool."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._known: dict[tuple[str, str], StoredLayout] = {}

    def known(self, profile: str, hash_: str) -> StoredLayout | None:
        return self._known.get((profile, hash_))

    async def find(self, profile: str, hash_: str) -> StoredLayout | None:
        """The layout from memory or the store; None when nobody has published it."""
        found = self._known.get((profile, hash_))
        if found is None:
            row = await self._pool.fetchrow(_FIND, profile, hash_)
            if row is not None:
                found = _stored(profile, hash_, row)
                self._known[profile, hash_] = found
        return found

    async def publish(self, topic: Topic, layout: Layout) -> tuple[StoredLayout, bool]:
        """Take a layout message; return it and whether the store had not seen it yet.

        Raises:
            PayloadError: it belongs to another profile, names a channel twice, or its hash means others.
        """
        if layout.profile != topic.name:
            raise PayloadError(str(topic), f"profile: is {layout.profile[:64]!r}, the topic says {topic.name!r}")
        names = [channel.name for channel in layout.channels]
        if len(set(names)) != len(names):
            raise PayloadError(str(topic), "channels: one is named twice")
        found = await self.find(layout.profile, layout.hash)
        new = found is None
        if found is None:
            channels = json.dumps([c.model_dump() for c in layout.channels])
            await self._pool.execute(_ADD, layout.profile, layout.hash, layout.version, layout.period_s, channels)
            found = await self.find(layout.profile, layout.hash)
            assert found is not None
        if found.layout.channels != layout.channels:
            raise PayloadError(str(topic), f"hash: {layout.hash} already stands for other channels")
        await self._pool.execute(_DEVICE, topic.node, topic.device, topic.name, found.id)
        return found, new


def _stored(profile: str, hash_: str, row: Any) -> StoredLayout:
    channels = [LayoutChannel.model_validate(channel) for channel in json.loads(row["channels"])]
    layout = Layout(profile=profile, version=row["version"], hash=hash_, period_s=row["period_s"], channels=channels)
    return StoredLayout(row["id"], layout)
