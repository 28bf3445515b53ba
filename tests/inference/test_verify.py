"""What is checked of a bundle beyond loading it, and what its card says."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from services.__main__ import main
from services.bus.profiles import load_profile
from services.bus.settings import ROOT
from services.inference.bundle import BundleError
from services.inference.card import card
from services.inference.verify import verify, where
from tests.inference.small_bundle import CHANNELS, MANIFEST, STRIDE, WINDOW, model, write_bundle

SHIPPED = ROOT / "bundles" / "dyad-int8"


def graph(nodes: list[Any], initializers: list[Any] = []) -> bytes:  # noqa: B006
    """A graph of the small bundle's interface."""
    shape = [1, WINDOW, len(CHANNELS)]
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "odd",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("window", "mask")],
            [
                helper.make_tensor_value_info("score", TensorProto.FLOAT, [1]),
                helper.make_tensor_value_info("contributions", TensorProto.FLOAT, [1, 2]),
            ],
            initializers,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def constant() -> bytes:
    """Healthy, whatever the window holds."""
    nodes = [
        helper.make_node("Sub", ["window", "window"], ["nothing"]),
        helper.make_node("ReduceSum", ["nothing", "two"], ["all"], keepdims=0),
        helper.make_node("Slice", ["all", "from", "to"], ["contributions"], name="slice"),
        helper.make_node("ReduceMean", ["contributions"], ["score"], axes=[1], keepdims=0),
    ]
    numbers = {"two": [1], "from": [0, 0], "to": [1, 2]}
    return graph(nodes, [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in numbers.items()])


def unstable() -> bytes:
    """No number as soon as something strange happens."""
    nodes = [
        helper.make_node("Sub", ["one", "window"], ["rest"]),
        helper.make_node("Log", ["rest"], ["log"]),
        helper.make_node("Abs", ["log"], ["size"]),
        helper.make_node("ReduceMean", ["size"], ["means"], axes=[1], keepdims=0),
        helper.make_node("Slice", ["means", "from", "to"], ["contributions"]),
        helper.make_node("ReduceMean", ["contributions"], ["score"], axes=[1], keepdims=0),
    ]
    return graph(
        nodes,
        [
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
            helper.make_tensor("from", TensorProto.INT64, [2], [0, 2]),
            helper.make_tensor("to", TensorProto.INT64, [2], [1, 4]),
        ],
    )


def divides_by_the_mask() -> bytes:
    nodes = [
        helper.make_node("Abs", ["window"], ["size"]),
        helper.make_node("ReduceSum", ["size", "one"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "one"], ["measured"], keepdims=0),
        helper.make_node("Div", ["sum", "measured"], ["means"]),
        helper.make_node("Slice", ["means", "from", "to"], ["contributions"]),
        helper.make_node("ReduceMean", ["contributions"], ["score"], axes=[1], keepdims=0),
    ]
    numbers = {"one": [1], "from": [0, 2], "to": [1, 4]}
    return graph(nodes, [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in numbers.items()])


def test_a_good_bundle_is_tried_and_measured(tmp_path: Path) -> None:
    verified = verify(write_bundle(tmp_path))
    assert verified.size == len(model())
    assert verified.operators == {"Abs": 1, "Mul": 1, "ReduceMean": 2, "Slice": 1}
    assert verified.latency_ms > 0
    assert verified.notes == ("a step of current, charge alone did not change the score",)
    assert list(tmp_path.iterdir()).__len__() == 2  # nothing is left behind


def test_the_shipped_bundle_is_integer_here() -> None:
    verified = verify(SHIPPED)
    assert verified.operators["QLinearConv"] > 5
    assert not any("in float on this machine" in note or "above the threshold" in note for note in verified.notes)


@pytest.mark.parametrize(
    ("content", "rule"),
    [(constant, "score: is 0 whatever"), (unstable, "finite: gives score"), (divides_by_the_mask, "mask: gives score")],
)
def test_a_graph_that_must_not_judge_is_refused(tmp_path: Path, content: Any, rule: str) -> None:
    with pytest.raises(BundleError, match=rf"model\.onnx: {rule}"):
        verify(write_bundle(tmp_path, content()))


def test_a_threshold_that_nothing_reaches_is_noted(tmp_path: Path) -> None:
    score = MANIFEST["score"] | {"threshold": 1e6}
    assert any("above the threshold 1e+06" in n for n in verify(write_bundle(tmp_path, score=score)).notes)


def test_float_work_that_was_integer_where_it_was_made_is_noted(tmp_path: Path) -> None:
    """A stand-in for a machine without the kernels: a graph with a float convolution and a manifest that has none."""
    nodes = [
        helper.make_node("Abs", ["window"], ["size"]),
        helper.make_node("Transpose", ["size"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["turned", "weight"], ["worked"]),
        helper.make_node("ReduceMean", ["worked"], ["contributions"], axes=[2], keepdims=0),
        helper.make_node("ReduceMean", ["contributions"], ["score"], axes=[1], keepdims=0),
    ]
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [2, 4, 1], [1.0] * 8)
    made = {"operators": {"QLinearConv": 1}}
    notes = verify(write_bundle(tmp_path, graph(nodes, [weight]), figures=made)).notes
    assert any("in float on this machine" in note for note in notes)
    made = {"operators": {"Conv": 1}}
    assert not any(
        "in float" in note for note in verify(write_bundle(tmp_path, graph(nodes, [weight]), figures=made)).notes
    )


def test_a_card_says_what_its_reader_must_know(tmp_path: Path) -> None:
    figures = {"test": {"windows": 69, "median": 0.4}, "late": {"windows": 7, "median": 8.0}, "auroc": 0.9}
    folder = write_bundle(tmp_path, figures=figures, training={"data": "car1"}, limits=["Shorts above 200 ohm."])
    text = card(verify(folder), load_profile("battery"))
    for part in (
        "# Small",
        "small@1.0.0+",
        f"Windows of {WINDOW} steps of 10 s (1 minutes), one each {STRIDE * 10 / 60:.3g} minutes",
        "| voltage | V per element | response | mean of the step, divided by the number of cell_voltages | (3, 0.5) |",
        "| charge | Ah | input | Ah counted",
        "**Threshold 1.** by hand",
        "|  | windows | median |\n|---|---|---|\n| test | 69 | 0.4 |\n| late | 7 | 8 |",
        "- auroc: 0.9",
        "- data: car1",
        "- Shorts above 200 ohm.",
        "no integer operators",
        "| ReduceMean | 2 |",
    ):
        assert part in text, part


def test_a_card_of_a_reference_and_of_a_cell_says_so(tmp_path: Path) -> None:
    text = card(verify(write_bundle(tmp_path, purpose="reference")), load_profile("battery"))
    assert "only where the setting `references` names it" in text
    assert "judges wherever it is installed" in card(verify(SHIPPED), load_profile("battery"))


def test_either_file_names_the_bundle(tmp_path: Path) -> None:
    assert where(tmp_path / "manifest.json") == where(tmp_path / "model.onnx") == where(tmp_path) == tmp_path


def test_the_command_answers_with_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_bundle(tmp_path / "small")
    assert main(["bundle", "verify", str(folder)]) == 0
    assert "trial runs: right" in capsys.readouterr().out
    assert main(["bundle", "card", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("# Small\n")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"sha256": "0" * 64}))
    assert main(["bundle", "verify", str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"bundle: {folder}/model.onnx: sha256: is " in said.err
    assert main(["bundle", "card", str(tmp_path / "none")]) == 2
    assert f"{tmp_path}/none/manifest.json: readable" in capsys.readouterr().err


def test_the_executable_knows_the_verb() -> None:
    said = subprocess.run([ROOT / "emberwatch", "help"], capture_output=True, text=True, check=True, env=os.environ)
    assert "emberwatch bundle verify|card DIR" in said.stdout
