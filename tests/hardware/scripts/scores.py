"""Scores of every shipped bundle as JSON, float32 by float32 in full: run on two computers, the two are compared.

Each bundle judges the windows of the recording in the package, and generated ones (scaled values of usual size).
"""

import json
import zlib
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from services.bus.messages import Layout, Sample
from services.bus.settings import ROOT
from services.inference.bundle import Bundle, load_bundle
from services.inference.pipeline import Pipeline
from services.sensor.recorded import open_recording

RECORDING = ROOT / "services" / "sensor" / "recordings" / "car1.parquet"
CHUNKS, GENERATED = 3, 24
BOOT = "0" * 16
CHOICES = ("phase", "phase_charge", "chemistry")  # columns that are one of a few numbers


def numbers(*parts: object) -> list[float]:
    return [float(x) for part in parts for x in np.atleast_1d(np.asarray(part, dtype=np.float32))]


def generated(bundle: Bundle) -> Iterator[list[float]]:
    specs = bundle.manifest.channels
    shape = (bundle.manifest.window, len(specs))
    centre = np.array([spec.offset for spec in specs], dtype=np.float32)
    spread = np.array([0.0 if spec.derived in CHOICES else spec.scale for spec in specs], dtype=np.float32)
    random = np.random.default_rng(zlib.crc32(bundle.manifest.name.encode()))
    for _ in range(GENERATED):
        values = centre + spread * random.normal(0, 1, shape).astype(np.float32)
        mask = (random.random(shape) > 0.02).astype(np.float32)
        yield numbers(*bundle.run(values, mask))


@cache
def samples() -> tuple[Layout, list[Sample]]:
    """The first rows of the recording: read once for all bundles, for an emulated Pi is slow."""
    recording = open_recording(RECORDING, None)
    chunks = islice(recording.chunks(), CHUNKS)
    return recording.layout, [
        Sample(
            boot=BOOT,
            seq=chunk.first + i,
            ts="2026-01-01T00:00:00.000Z",
            mono=chunk.mono[i],
            time_source="ntp",
            layout=recording.layout.hash,
            channels=channels,
            quality=quality,
        )
        for chunk in chunks
        for i, (channels, quality) in enumerate(chunk.rows)
    ]


def recorded(bundle: Bundle) -> Iterator[list[float]]:
    layout, rows = samples()
    try:
        pipeline = Pipeline(bundle, layout, BOOT)
    except ValueError:
        return  # the recording is not of what this bundle judges
    for sample in rows:
        for window in pipeline.add(sample):
            judged = bundle.judge(window)
            yield numbers(judged.score, list(judged.shares.values()))


def bundles() -> Iterator[Path]:
    yield from sorted(path.parent for path in (ROOT / "bundles").glob("*/manifest.json"))


if __name__ == "__main__":
    loaded = {folder.name: load_bundle(folder) for folder in bundles()}
    print(json.dumps({n: {"recorded": list(recorded(b)), "generated": list(generated(b))} for n, b in loaded.items()}))
