"""What comes over MQTT is text, never HTML."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from services.bus.messages import Replay
from services.dashboard import markup
from services.dashboard.alarms import AlarmRow, Banner
from services.dashboard.tiles import Tile
from services.dashboard.view import Connection, ServiceRow
from tests.dashboard.conftest import one_alarm

EVIL = '<img src=x onerror="alert(1)"><script>'
nasty = st.text(max_size=40) | st.just(EVIL) | st.just("\"'><b>&amp;`<i>`")


class Tags(HTMLParser):
    """Collects the names of tags; fails on one that is not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == [], html

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag != "br":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@given(nasty)
def test_no_text_from_outside_becomes_a_tag(text: str) -> None:
    row = AlarmRow(text, text, text, text, 1, one_alarm(text=text))
    event = {"ts": "2021-05-05T09:10:00Z", "type": text, "rule": text, "by": text, "reason": text}
    stream = {"node": text, "device": text, "kind": text, "name": text, "boot": text, "closed": False}
    html = "".join(
        [
            markup.banner(Banner("red", text, text, text), [row]),
            markup.tiles([Tile(text, text, text, text, text, stale=True), Tile(text, None)]),
            markup.recorded(text, Replay(file=text, rows=3, published=1, finished=False), ""),
            markup.connection(Connection(text, 1.0, None), 2.0),
            markup.connection(Connection(text, None, 1.0, failed=text), 2.0),
            markup.panel_head(text, text) + markup.section(text) + markup.empty(text, text),
            markup.alarm(row),
            markup.lcd([text] * 5, "online"),
            markup.services([ServiceRow(text, text, "online", 1.0, text, {text: 1.0, "rejected": 2.0})]),
            markup.streams([stream | dict.fromkeys(("received", "announced", "missing", "lost"), 1)]),
            markup.events([event | {"alarm": {"severity": text, "text": text}}]),
        ]
    )
    ours = {"div", "span", "h1", "h2", "h3", "p", "b", "br", "code", "pre", "small", "progress"}
    assert Tags(html).seen <= ours | {"table", "thead", "tbody", "tr", "th", "td"}


def test_the_display_is_always_four_lines_of_twenty() -> None:
    inside = markup.lcd(["GREEN OK", "x" * 30], "online").split(">", 1)[1].removesuffix("</pre>")
    assert [len(line) for line in inside.split("\n")] == [20] * 4
    assert 'class="ew-lcd stale"' in markup.lcd(["a"], "silent")


def test_lost_messages_are_not_called_complete() -> None:
    base = {"node": "pi", "device": "pack-1", "kind": "telemetry", "name": "battery", "boot": "a1", "closed": True}
    counts = {"received": 3, "announced": 3, "missing": 0, "lost": 0}
    assert "complete" in markup.streams([base | counts])
    assert "healing" in markup.streams([base | counts | {"missing": 1}])
    assert "lost</td>" in markup.streams([base | counts | {"missing": 1, "lost": 1}])
