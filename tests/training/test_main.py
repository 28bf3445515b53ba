"""The training command line: verbs, configurations, and what is said of wrong ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from services.bus.settings import ROOT
from training.__main__ import main, shipped
from training.configuration import CONFIGS, load_plan, parse_changes
from training.report.page import fill, renew

pytestmark = pytest.mark.training


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    out, line = capsys.readouterr()
    assert out == ""
    return line.strip()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_valid_and_names_its_bundle(path: Path) -> None:
    plan = load_plan(path.stem)
    assert callable(plan.module.train)
    assert plan.head.out.parts[0] == "bundles"


def test_a_wrong_key_is_named_with_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("trainer: cell\ndata: d\nout: o\nstepz: 3\n")
    assert error_of(["train", str(path)], capsys) == f"train: {path}: stepz: Extra inputs are not permitted"


def test_a_missing_configuration_names_those_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    line = error_of(["train", "nope"], capsys)
    assert line.startswith(f"train: {CONFIGS}/nope.yaml: file: is not there; there are ")
    assert "dyad-int8" in line


def test_a_missing_trainer_and_data_set_name_those_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("trainer: astrology\ndata: d\nout: o\n")
    assert "training.trainers.astrology is not there; there are " in error_of(["train", str(path)], capsys)
    command = ["evaluate", "--bundle", str(tmp_path), "--path", str(tmp_path), "--dataset", "tea-leaves"]
    assert "training.evaluation.tea_leaves is not there; there are " in error_of(command, capsys)


def test_all_bundles_of_the_repository_have_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shipped() == sorted(path.parent.name for path in (ROOT / "bundles").glob("*/manifest.json"))
    assert str(tmp_path / "ev-fault") in error_of(["train", "all", "--data", str(tmp_path)], capsys)


def test_changes_are_yaml_and_go_over_the_file() -> None:
    assert parse_changes(["steps=5", "teacher=true"]) == {"steps": 5, "teacher": True}
    assert parse_changes(["recipe.seed=3", "recipe.steps=5"]) == {"recipe": {"seed": 3, "steps": 5}}
    assert load_plan("cell-int8", ["seed=3"]).config.seed == 3
    before, after = load_plan("dyad-int8").config.recipe, load_plan("dyad-int8", ["recipe.seed=3"]).config.recipe
    assert after == before.model_copy(update={"seed": 3})


def test_a_page_s_tables_are_replaced_and_a_table_that_nothing_makes_is_named(tmp_path: Path) -> None:
    page = "before\n<!-- table: cell -->\nold\n<!-- end -->\nafter\n"
    expected = "before\n<!-- table: cell -->\n|a|\n<!-- end -->\nafter\n"
    assert fill(page, {"cell": "|a|\n"}, "page") == expected
    assert fill(expected, {"cell": "|a|"}, "page") == expected
    (tmp_path / "page.md").write_text(page)
    with pytest.raises(Exception, match=r"page\.md: cell: no study makes this table"):
        renew(tmp_path, tmp_path / "page.md")


def test_evaluate_and_the_command_line_need_no_torch() -> None:
    names = [p.stem for p in (ROOT / "training" / "evaluation").glob("*.py")]
    imports = "\n".join(f"import training.evaluation.{name}" for name in names)
    program = f"import json, sys\nimport training.__main__\n{imports}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"torch", "onnx", "sklearn", "scipy", "matplotlib"} & set(json.loads(done.stdout))
