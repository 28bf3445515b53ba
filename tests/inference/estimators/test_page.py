"""docs/estimators.md: every quantity that is published has its section, and every link leads somewhere."""

import ast
import inspect
import re
import textwrap
from pathlib import Path

import pytest

from services.bus.settings import ROOT, read_yaml
from services.inference.estimators.physics import Physics

PAGE = ROOT / "docs" / "estimators.md"
TEXT = PAGE.read_text(encoding="utf-8")
SECTIONS = [section.split("\n", 1) for section in re.split(r"^## ", TEXT, flags=re.M)[1:]]
OF_QUANTITY = {name: body for head, body in SECTIONS for name in re.findall(r"`(\w+)`", head)}


def published() -> set[str]:
    """Names that `Physics.estimates` puts into messages, as its source has them."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(Physics.estimates)))
    names = {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            names.add(node.slice.value)
    return {str(name) for name in names}


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_every_published_quantity_has_its_section_and_no_other_has() -> None:
    assert len(published()) >= 11
    assert set(OF_QUANTITY) == published()


@pytest.mark.parametrize("name", sorted(OF_QUANTITY))
def test_a_section_says_error_silence_state_rule_and_figures(name: str) -> None:
    for word in ("*Error*", "*Not said*", "*State*", "*Rule", "*Reached*"):
        assert word in OF_QUANTITY[name], word


@pytest.mark.parametrize(
    "path", sorted((ROOT / "services" / "inference" / "estimators").glob("*.py")), ids=lambda p: p.name
)
def test_every_module_is_spoken_of(path: Path) -> None:
    assert path.name in TEXT


def test_every_rule_over_estimates_is_in_the_section_of_its_quantity() -> None:
    rules = [r for r in read_yaml(ROOT / "rules" / "battery.yaml")["rules"] if r["kind"] == "estimate"]
    assert rules
    for rule in rules:
        assert f"`{rule['name']}`" in OF_QUANTITY[rule["quantity"]], rule["name"]
        assert f"{rule['setpoint']:g}" in OF_QUANTITY[rule["quantity"]] or rule["unit"] == "V/day", rule["name"]


def test_every_link_leads_somewhere() -> None:
    headings = {anchor(head) for head, _ in SECTIONS}
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(links) > 15
    for link in links:
        if link.startswith("#"):
            assert link[1:] in headings, link
        else:
            assert (PAGE.parent / link.split("#")[0]).exists(), link
