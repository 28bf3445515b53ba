"""From a trained student to the INT8 graph that ships: trained on with its roundings, judged by its own errors."""

import onnx
from rich.progress import Progress

from training.compress.qat import rounded
from training.compress.student_graph import GIVEN, MADE, WEIGHT_MAX, ranges_of, write
from training.models.conv import ConvDyad
from training.models.fit import Recipe, Saves, fit
from training.models.pack import CHANNELS
from training.models.snippets import Snippets


def integer_form(
    net: ConvDyad,
    recipe: Recipe,
    learnt: Snippets,
    held: Snippets,
    calibration: Snippets,
    share: float,
    progress: Progress,
    title: str,
    saves: Saves | None = None,
) -> onnx.ModelProto:
    """Changes `net`.

    Args:
        recipe: of the training with roundings.
        held: healthy windows by which the errors get their units; with the roundings, which are part of the error.
        calibration: windows from which the ranges are taken; they stay.
        share: of these windows, whose extremes the ranges hold.
    """
    ranges = ranges_of(net, calibration, share)
    with rounded(net, GIVEN, MADE, ranges, WEIGHT_MAX):
        fit(net, learnt, recipe, progress, title, None, saves)
        net.fit_units(held, CHANNELS)
    return write(net, ranges).model()
