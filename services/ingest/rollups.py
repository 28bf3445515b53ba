"""Rollups: minimum, maximum, mean and count of each channel a minute and an hour.

The writer marks each minute that got a row, however late; a run makes the marked minutes again from the samples, and
their hours from the minutes. So a late backfill is in them as soon as its marks are worked off.
"""

from typing import Any, Final

MINUTES_AT_ONCE: Final = 60

_TAKE: Final = """
WITH due AS (SELECT stream, ts FROM rollup_mark GROUP BY stream, ts ORDER BY min(id) LIMIT $1),
     taken AS (DELETE FROM rollup_mark m USING due WHERE (m.stream, m.ts) = (due.stream, due.ts) RETURNING m.stream)
SELECT stream, ts FROM due WHERE (SELECT count(*) FROM taken) >= 0"""
_MERGE: Final = """
ON CONFLICT (stream, ts, layout) DO UPDATE
SET low = excluded.low, high = excluded.high, mean = excluded.mean, n = excluded.n"""
_MINUTES: Final = f"""
INSERT INTO rollup_60 (stream, ts, layout, low, high, mean, n)
SELECT stream, ts, layout, array_agg(low ORDER BY at), array_agg(high ORDER BY at), array_agg(mean ORDER BY at),
    array_agg(n ORDER BY at)
FROM (SELECT m.stream, m.ts, s.layout, c.at, min(c.v) AS low, max(c.v) AS high, avg(c.v) AS mean, count(c.v) AS n
      FROM unnest($1::int[], $2::timestamptz[]) AS m(stream, ts)
      JOIN sample s ON s.stream = m.stream AND s.ts >= m.ts AND s.ts < m.ts + interval '1 minute'
      CROSS JOIN LATERAL unnest(s.channels) WITH ORDINALITY AS c(v, at)
      GROUP BY m.stream, m.ts, s.layout, c.at) AS places
GROUP BY stream, ts, layout {_MERGE}"""
_HOURS: Final = f"""
INSERT INTO rollup_3600 (stream, ts, layout, low, high, mean, n)
SELECT stream, ts, layout, array_agg(low ORDER BY at), array_agg(high ORDER BY at), array_agg(mean ORDER BY at),
    array_agg(n ORDER BY at)
FROM (SELECT h.stream, h.ts, r.layout, c.at, min(c.low) AS low, max(c.high) AS high, sum(c.n) AS n,
          sum(c.mean::float8 * c.n) / nullif(sum(c.n), 0) AS mean
      FROM (SELECT DISTINCT stream, date_trunc('hour', ts) AS ts
            FROM unnest($1::int[], $2::timestamptz[]) AS m(stream, ts)) AS h
      JOIN rollup_60 r ON r.stream = h.stream AND r.ts >= h.ts AND r.ts < h.ts + interval '1 hour'
      CROSS JOIN LATERAL unnest(r.low, r.high, r.mean, r.n) WITH ORDINALITY AS c(low, high, mean, n, at)
      GROUP BY h.stream, h.ts, r.layout, c.at) AS places
GROUP BY stream, ts, layout {_MERGE}"""


async def work_off(connection: Any, minutes: int = MINUTES_AT_ONCE) -> int:
    """Make up to `minutes` marked minutes of a stream, and their hours, again in one transaction; how many it were."""
    async with connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock(1919250540)"):
            return 0  # another copy is at it
        due = await connection.fetch(_TAKE, minutes)
        if due:  # a row committed from now on brings a mark of its own
            streams, times = [row["stream"] for row in due], [row["ts"] for row in due]
            await connection.execute(_MINUTES, streams, times)
            await connection.execute(_HOURS, streams, times)
    return len(due)
