"""`evaluate` on a small set of the same format: what the figures must be is known by how it was made."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from services.bus.errors import EmberwatchError
from services.bus.settings import ROOT
from tests.training.isc_ncm_set import SMALL, write_set
from training.__main__ import main
from training.data.cell_steps import CELLS, Cut, phases_of, windows_of
from training.data.isc_ncm import load
from training.evaluation.isc_ncm import Scored, contrasts, evaluate, summary
from training.models.cell import COLUMNS
from training.models.cell_fit import CellWindows
from training.models.cell_folds import CAPACITIES

pytestmark = pytest.mark.training
SHIPPED = ROOT / "bundles" / "cell-int8"
QUIET = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("isc_ncm"))


@pytest.fixture(scope="module")
def figures(folder: Path) -> dict[str, Any]:
    return evaluate(SHIPPED, folder, QUIET)


def test_the_command_prints_one_object_of_the_promised_form(
    folder: Path, figures: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--bundle", str(SHIPPED), "--dataset", "isc_ncm", "--path", str(folder), "--json"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == figures
    assert out.count("\n") == 1
    assert set(figures) == {"window", "run", "cycle", "n", "ci95", "without_807"}
    for what in ("window", "run", "cycle"):
        assert set(figures[what]) == set(figures["ci95"][what]) == {"10", "50", "le100"}
        for size, both in figures[what].items():
            assert set(both) == {"bd", "same_cell"}
            low, high = figures["ci95"][what][size]["bd"]
            assert 0 <= low <= both["bd"] + 1e-3
            assert both["bd"] - 1e-3 <= high <= 1


def test_counts_are_those_of_the_set(figures: dict[str, Any]) -> None:
    protocols = len(SMALL.protocols)
    n = figures["n"]
    assert n["protocols"] == protocols
    expected = {"bd": 3, "same_cell": 1, "10": 1, "50": 1, "le100": 2}
    assert n["run"] == {name: count * protocols for name, count in expected.items()}
    assert n["cycle"] == n["run"]
    assert n["window"]["bd"] == n["run"]["bd"] * 4
    assert n["window"]["not_judged"] == 0


def test_a_leak_of_known_size_is_found_by_the_balance(figures: dict[str, Any]) -> None:
    assert figures["cycle"]["10"] == {"bd": 1.0, "same_cell": 1.0}
    assert figures["cycle"]["50"]["same_cell"] == 1.0


def test_the_random_family_and_a_missing_file_and_foreign_runs_are_left_out(
    folder: Path, tmp_path: Path, figures: dict[str, Any]
) -> None:
    shutil.copytree(folder, tmp_path / "part")
    (tmp_path / "part" / "ncm523_cccv.parquet").unlink()
    lines = (folder / "runs.csv").read_text().splitlines()
    subset = [
        lines[0],
        *[line for line in lines[1:] if "NCM811_1.0C" not in line],
        "99999,P_RDT,NCM811,random,1,RDT,BD,0,10,5,5",
    ]
    (tmp_path / "part" / "runs.csv").write_text("\n".join(subset) + "\n")
    part = evaluate(SHIPPED, tmp_path / "part", QUIET)
    assert part["n"]["protocols"] == 1
    assert part["n"]["run"]["10"] == 1
    assert part["ci95"]["run"]["10"] == {"bd": None, "same_cell": None}  # of one protocol there is no interval


def test_a_set_of_healthy_cells_has_no_auroc(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "healthy")
    lines = (folder / "runs.csv").read_text().splitlines()
    (tmp_path / "healthy" / "runs.csv").write_text("\n".join([lines[0], *[k for k in lines[1:] if ",BD," in k]]) + "\n")
    figures = evaluate(SHIPPED, tmp_path / "healthy", QUIET)
    assert figures["window"] == {}
    assert figures["n"]["window"]["bd"] > 0


def test_what_cannot_be_judged_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EmberwatchError, match=r"runs\.csv"):
        evaluate(SHIPPED, tmp_path, QUIET)
    with pytest.raises(EmberwatchError, match="does not judge single cells"):
        evaluate(ROOT / "bundles" / "dyad-int8", folder, QUIET)
    shutil.copytree(folder, tmp_path / "odd")
    text = (folder / "runs.csv").read_text().replace("NCM523", "LFP")
    (tmp_path / "odd" / "runs.csv").write_text(text)
    for path in (tmp_path / "odd").glob("ncm523*"):
        path.rename(path.with_name(path.name.replace("ncm523", "lfp")))
    with pytest.raises(EmberwatchError, match="chemistry: LFP; known are NCM811, NCM523"):
        evaluate(SHIPPED, tmp_path / "odd", QUIET)


def test_training_sees_the_windows_that_are_judged(folder: Path) -> None:
    """The trainer's cut of whole phases is the service's windows, number for number."""
    runs = list(load(folder))[:3]
    phases = phases_of(runs, COLUMNS, 10.0, 12)
    whole = CellWindows(phases, np.arange(len(phases)), CAPACITIES, 128)
    cell = CELLS[str(runs[0].facts["chemistry"])]
    cut = [w for run in runs for w in windows_of(run, COLUMNS, Cut(), cell) if w is not None]
    offset, scale = (np.array([getattr(s, n) for s in COLUMNS], dtype=np.float32) for n in ("offset", "scale"))
    assert len(cut) == len(whole) > 0
    assert np.stack([(w.values - offset) / scale for w in cut]) == pytest.approx(whole.scaled, rel=1e-5, abs=1e-5)


def test_figures_without_run_807_differ_by_it_alone() -> None:
    rows = [(1.0, "1", "p", "BD", np.inf), (0.0, "2", "q", "BD", np.inf), (2.0, "3", "p", "CS", 50.0)]
    rows += [(-1.0, "807", "q", "CS", 50.0), (0.5, "5", "q", "CS", 1000.0)]
    found = summary({"run": Scored.of(rows)}, draws=50)
    assert found["run"]["50"] == {"bd": 0.5, "same_cell": 0.5}
    assert found["without_807"]["run"]["50"] == {"bd": 1.0, "same_cell": 1.0}
    assert contrasts(Scored.of([row for row in rows if row[1] != "807"])) == found["without_807"]["run"]
