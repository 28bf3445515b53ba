"""Where benchmark figures go: docs/benchmarks.md, one section a benchmark, between markers."""

import platform
import re
import statistics
from collections.abc import Sequence
from datetime import date
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def spread(values: Sequence[float], digits: int) -> str:
    """Minimum, median and maximum as table cells."""
    return " | ".join(f"{v:.{digits}f}" for v in (min(values), statistics.median(values), max(values)))


def write_section(name: str, lines: Sequence[str]) -> None:
    """Print the section and put it into the page."""
    text = "\n".join([f"_{date.today()}, Python {platform.python_version()}, {platform.machine()}._", "", *lines])
    print(text)
    page = PAGE.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in page:
        raise SystemExit(f"{PAGE}: no markers {begin} .. {end}")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page))
