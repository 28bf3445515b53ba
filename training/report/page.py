"""Tables and pictures of docs/detection.md, made from the studies' JSON files.

Each module of this folder that has `report(figures, folder) -> {marker: markdown}` is given its study's figures (the
JSON file of the module's own name) and the folder to put pictures into. The page holds, where a table belongs,

    <!-- table: MARKER -->
    <!-- end -->

and what stands between the two is replaced.
"""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Final

from services.bus.errors import ConfigError

BETWEEN: Final = re.compile(r"(<!-- table: (?P<marker>[\w.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def renew(figures: Path, page: Path) -> list[str]:
    """Make all pictures again and replace the page's tables; returns a line on each step.

    Raises:
        ConfigError: a table of the page that no study makes, or a study's file that cannot be read.
    """
    done: list[str] = []
    tables: dict[str, str] = {}
    for module in sorted(p.stem for p in Path(__file__).parent.glob("*.py")):
        source = figures / f"{module}.json"
        report = getattr(import_module(f"training.report.{module}"), "report", None)
        if report is None or not source.exists():
            continue
        try:
            content = json.loads(source.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(str(source), "JSON", str(error)) from None
        made = report(content, figures)
        tables |= made
        done.append(f"{source.name}: {', '.join(made) or 'pictures'}")
    if page.exists():
        text = page.read_text(encoding="utf-8")
        page.write_text(fill(text, tables, str(page)), encoding="utf-8")
        done.append(f"{page}: {len(BETWEEN.findall(text))} tables")
    return done


def fill(text: str, tables: dict[str, str], where: str) -> str:
    """Replace what stands between the markers. Raises ConfigError naming a marker without a table."""

    def table(found: re.Match[str]) -> str:
        if found["marker"] not in tables:
            raise ConfigError(where, found["marker"], "no study makes this table")
        return f"{found[1]}{tables[found['marker']].strip()}\n{found[3]}"

    return BETWEEN.sub(table, text)
