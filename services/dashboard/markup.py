"""HTML of the parts that Streamlit has no widget for. Pure; every text from outside is escaped."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

from services.bus.messages import Replay
from services.dashboard.alarms import AlarmRow, Banner, time_words
from services.dashboard.staleness import Life, duration
from services.dashboard.tiles import Tile
from services.dashboard.view import Connection, ServiceRow

LIFE_WORDS: Final[dict[Life, str]] = {
    "online": "online",
    "unconfirmed": "not confirmed yet",
    "silent": "silent",
    "offline": "offline",
}
LOGO: Final = '<h1 class="ew-logo">Emberwatch</h1>'


def connection(c: Connection, now: float) -> str:
    """Our own connection, in words."""
    if c.failed:
        return f'<span class="ew-pill bad">The live feed has ended: {escape(c.failed)}. Restart the dashboard.</span>'
    if c.cut_since is not None:
        since = duration(now - c.cut_since)
        return f'<span class="ew-pill bad">No connection to broker {escape(c.broker)} for {since}; retrying</span>'
    return f'<span class="ew-pill">Broker {escape(c.broker)} connected</span>'


def banner(b: Banner, elsewhere: Sequence[AlarmRow] = ()) -> str:
    html = (
        f'<div class="ew-banner {b.tone}" role="status" aria-live="polite"><div class="icon"></div>'
        f'<div class="word">{escape(b.word)}</div>'
        f'<div class="said"><div class="text">{escape(b.text)}</div><div class="detail">{escape(b.detail)}</div></div>'
        "</div>"
    )
    if elsewhere:
        names = ", ".join(sorted({f"{r.node} / {r.device}: {r.title}" for r in elsewhere})[:4])
        html += f'<div class="ew-elsewhere">Elsewhere {_count(len(elsewhere), "alarm")}: {escape(names)}</div>'
    return html


def tiles(found: Sequence[Tile]) -> str:
    return f'<div class="ew-tiles">{"".join(map(_tile, found))}</div>'


def _tile(t: Tile) -> str:
    value = "—" if t.value is None else escape(t.value)
    unit = f"<small>{escape(t.unit)}</small>" if t.value is not None and t.unit else ""
    note = escape(t.note or ("no reading" if t.value is None else "")) or "&nbsp;"
    mark = f' <span class="mark">{escape(t.mark)}</span>' if t.mark else ""
    badge = '<span class="old">stale</span>' if t.stale else ""
    return (
        f'<div class="ew-tile{" stale" if t.stale else ""}"><div class="label">{escape(t.label)}{badge}</div>'
        f'<div class="value">{value}{unit}</div><div class="note">{note}{mark}</div></div>'
    )


def recorded(time: str, replay: Replay | None, pill: str) -> str:
    """Which time the samples tell, how far a recording is, and our connection (`pill`: HTML)."""
    parts = [f"<span>{'Recording time' if replay else 'Sample time'} <b>{escape(time)}</b></span>"] if time else []
    if replay is not None:
        said = "finished" if replay.finished else f"row {replay.published:,} of {replay.rows:,}"
        parts.append(
            f'<span><progress max="{max(replay.rows, 1)}" value="{replay.published}" aria-label="replay"></progress>'
            f"{escape(replay.file)}, {said}</span>"
        )
    return f'<div class="ew-recorded">{"".join([*parts, pill])}</div>'


def panel_head(title: str, summary: str) -> str:
    return f'<h3 class="ew-title">{escape(title)}</h3><p class="ew-summary">{escape(summary)}</p>'


def section(title: str) -> str:
    return f'<h2 class="ew-section">{escape(title)}</h2>'


def empty(title: str, *lines: str) -> str:
    """A panel without content says what is missing. `lines` are escaped, `code` in backticks is shown as such."""
    body = "<br>".join(_code(line) for line in lines)
    return f'<div class="ew-empty"><b>{escape(title)}</b><br>{body}</div>'


def _code(line: str) -> str:
    parts = escape(line).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def alarm(row: AlarmRow) -> str:
    a = row.alarm
    where = f"{row.node} / {row.device}"
    meta = [where]
    if a.raised_at is not None:
        meta.append(f"raised {time_words(a.raised_at)}")
    if a.cleared_at is not None and not a.active:
        meta.append(f"cleared {time_words(a.cleared_at)}")
    if a.count > 1:
        meta.append(f"{a.count} times so far")
    if row.stale:
        meta.append("last known state, its publisher is silent")
    return (
        f'<div class="ew-alarm {row.tone}"><div class="top"><span class="sev">{a.severity}</span>'
        f"<span>{escape(row.title)}</span></div>"
        f'<div class="body"><b>{escape(row.state_words)}.</b> {escape(row.said)}</div>'
        f'<div class="meta">{escape(" · ".join(meta))}</div></div>'
    )


def lcd(lines: Sequence[str], life: Life | None) -> str:
    """The node's 20x4 display as it is, grey when its service no longer says so."""
    frame = "\n".join(escape(line[:20].ljust(20)) for line in [*lines[:4], *[""] * (4 - len(lines))])
    stale = life in ("silent", "offline", None)
    return f'<pre class="ew-lcd{" stale" if stale else ""}" aria-label="node display">{frame}</pre>'


def services(found: Iterable[ServiceRow]) -> str:
    rows = []
    for s in found:
        problems = {k: v for k, v in s.counters.items() if v and k in PROBLEMS}
        said = ", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in problems.items()) or "none"
        heard = "now" if s.heard_s < 1 else f"{duration(s.heard_s)} ago"
        cells = (s.node, s.service)
        rows.append(
            f'<tr><td><span class="ew-dot {s.life}"></span>{LIFE_WORDS[s.life]}</td>'
            + "".join(f"<td>{escape(c)}</td>" for c in cells)
            + f'<td>{escape(s.version or "–")}</td><td class="num">{heard}</td><td>{escape(said)}</td></tr>'
        )
    titles = ("State", "Node", "Service", "Version", ">Last heard", "Refusals and repairs")
    return table(titles, rows)


PROBLEMS: Final = frozenset(
    {
        "rejected", "connect_failed", "connect_refused", "publish_refused", "quarantined", "duplicates", "late",
        "skipped", "missing", "lost", "backfill_asked", "stale_wills", "journal_moved", "reading_paused", "marked",
    }
)  # fmt: skip


def streams(found: Iterable[dict[str, Any]]) -> str:
    rows = []
    for s in found:
        tone = "silent" if s["lost"] else "online" if not s["missing"] else ""
        words = "lost" if s["lost"] else "complete" if not s["missing"] else "healing"
        rows.append(
            f'<tr><td><span class="ew-dot {tone}"></span>{words}</td>'
            f"<td>{escape(str(s['node']))} / {escape(str(s['device']))}</td>"
            f"<td>{escape(str(s['kind']))}.{escape(str(s['name']))}</td><td><code>{escape(str(s['boot']))}</code></td>"
            + "".join(f'<td class="num">{s[k]:,}</td>' for k in ("received", "announced", "missing", "lost"))
            + f"<td>{'ended' if s['closed'] else 'open'}</td></tr>"
        )
    titles = ("State", "Device", "Stream", "Process start", ">Stored", ">Announced", ">Missing", ">Lost", "Publisher")
    return table(titles, rows)


def events(found: Iterable[dict[str, Any]]) -> str:
    rows = []
    for e in found:
        alarm, when = e["alarm"], time_words(datetime.fromisoformat(e["ts"]))
        values = (
            when,
            str(e["type"]).replace("_", " "),
            str(alarm["severity"]),
            str(e["rule"]).replace("_", " "),
            str(alarm.get("text") or ""),
            " · ".join(str(part) for part in (e.get("by"), e.get("reason")) if part) or "–",
        )
        rows.append(cells(*values))
    return table(("Time", "What", "Severity", "Alarm", "Text", "By whom, why"), rows)


def cells(*values: str) -> str:
    """One row of a table."""
    return "<tr>" + "".join(f"<td>{escape(value)}</td>" for value in values) + "</tr>"


def table(titles: Sequence[str], rows: Sequence[str]) -> str:
    """A table; a title that begins with `>` is a column of numbers."""
    heads = "".join(
        f'<th scope="col"{" class=num" if t.startswith(">") else ""}>{escape(t.removeprefix(">"))}</th>' for t in titles
    )
    body = "".join(rows)
    table = f'<table class="ew-table"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="ew-scroll">{table}</div>'


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
