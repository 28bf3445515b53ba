"""A bundle says the same on the Pi's processor as here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.bus.settings import ROOT
from services.inference.bundle import load_bundle
from tests.hardware.rig.bench import Bench
from tests.hardware.scripts import scores

pytestmark = pytest.mark.rig
NEAR = 3e-6  # float32 sums in another order


def test_every_bundle_scores_on_aarch64_as_on_this_computer(bench: Bench) -> None:
    there: dict[str, Any] = json.loads(
        bench.pi.machine.run("python3 -", input=Path(scores.__file__).read_text(), timeout_s=240).out
    )
    shipped = {folder.name for folder in scores.bundles()}
    assert there.keys() == shipped == {path.parent.name for path in (ROOT / "bundles").glob("*/manifest.json")}
    for folder in scores.bundles():
        bundle = load_bundle(folder)
        for kind, here in (("recorded", scores.recorded(bundle)), ("generated", scores.generated(bundle))):
            ours, theirs = np.array(list(here)), np.array(there[folder.name][kind])
            assert ours.shape == theirs.shape
            if kind == "recorded":  # the score as it is published
                np.testing.assert_array_equal(theirs.round(5), ours.round(5), f"{folder.name}, {kind}")
            np.testing.assert_allclose(theirs, ours, rtol=NEAR, atol=NEAR, err_msg=f"{folder.name}, {kind}")


def test_the_comparison_is_of_real_windows() -> None:
    for folder in scores.bundles():
        bundle = load_bundle(folder)
        values = np.array(list(scores.generated(bundle)))
        assert len(np.unique(values[:, 0])) == scores.GENERATED
        assert bundle.manifest.of_cell or len(list(scores.recorded(bundle))) > 4  # the recording is of a pack
