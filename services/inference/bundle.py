"""Bundles: a folder with `manifest.json` and `model.onnx`. Reading, verifying, judging.

The graph's interface is the same for every windowed detector. Inputs: `window` (scaled as the manifest says) and
`mask`, float32 (1, window, channels). Outputs: `score`, float32 (1), and `contributions`, float32 (1, responses), >= 0.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnxruntime as ort
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.bus.errors import EmberwatchError
from services.bus.profiles import Profile, load_profile
from services.bus.topics import check_name
from services.inference.channels import ChannelSpec
from services.inference.window import Array, Domain, WindowSteps

MANIFEST: Final = "manifest.json"
MODEL: Final = "model.onnx"
MAX_MODEL: Final = 64 * 2**20  # bytes; an edge model is thousands of times smaller


EVERYTHING: Final = (-np.inf, np.inf)


class BundleError(EmberwatchError):
    """A bundle that must not be used. Names the file and the rule that it breaks."""

    def __init__(self, path: Path, rule: str, reason: str) -> None:
        super().__init__(f"{path}: {rule}: {reason}")
        self.path, self.rule, self.reason = path, rule, reason


class ScoreDefinition(BaseModel):
    """What a score means; the arithmetic itself is in the graph."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    definition: str
    threshold: float = Field(gt=0)
    threshold_from: str = Field(description="How the threshold was chosen, on what.")


class Manifest(BaseModel):
    """manifest.json: everything about a bundle that is not in its graph."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    name: str
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    title: str
    purpose: Literal["detector", "reference"] = Field(
        "detector", description="A reference is for comparison: it judges only where the settings name it."
    )
    profile: str
    profile_version: int = Field(ge=1)
    channels: tuple[ChannelSpec, ...] = Field(min_length=1, description="Columns of the window, in order.")
    step_s: float = Field(gt=0, description="Time between two rows of the window [s].")
    period_max_s: float = Field(gt=0, description="Devices that are sampled more slowly are not judged [s].")
    window: int = Field(ge=2, le=4096, description="Length of the window [steps].")
    stride: int = Field(ge=1, description="From one window to the next [steps].")
    hole_max: int = Field(
        ge=0, description="Longest hole that is held and masked [steps]; a longer one ends the window."
    )
    holes_max: int = Field(ge=0, description="A window with more held steps is passed over.")
    score: ScoreDefinition
    training: dict[str, Any] = Field(description="Data, spans, seed, versions.")
    figures: dict[str, Any] = Field(description="Figures of merit.")
    limits: tuple[str, ...] = Field((), description="What it cannot see, one sentence each.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of model.onnx.")
    signature: str | None = Field(None, description="Detached signature of `sha256`, base64; for who installs bundles.")

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        check_name("name", self.name)
        names = [channel.name for channel in self.channels]
        if len(set(names)) != len(names):
            raise ValueError(f"a channel is named twice in {names}")
        if "charge" in names and "current" not in names:
            raise ValueError("charge is counted from current, which is not among the channels")
        if not self.responses:
            raise ValueError("no channel is a response")
        if self.of_cell and not {"voltage", "current"} <= {c.name for c in self.channels if not c.derived}:
            raise ValueError("columns of a phase need voltage and current among the channels")
        limited = [c.name for c in self.channels if c.charge_range or c.discharge_range]
        if limited and all(channel.derived != "phase" for channel in self.channels):
            raise ValueError(f"the range of {limited[0]} in charge or discharge needs a column `phase`")
        if self.stride >= self.window:
            raise ValueError(f"stride {self.stride} must be shorter than the window {self.window}")
        return self

    @property
    def responses(self) -> tuple[str, ...]:
        return tuple(channel.name for channel in self.channels if channel.role == "response")

    @property
    def of_cell(self) -> bool:
        """It judges single cells, and must be told their capacity and chemistry."""
        return any(channel.of_phase for channel in self.channels)

    @property
    def domain(self) -> Domain | None:
        """Windows that are judged; None = all are."""
        if all(channel.charge_range is None and channel.discharge_range is None for channel in self.channels):
            return None
        charge = [channel.charge_range or EVERYTHING for channel in self.channels]
        discharge = [channel.discharge_range or EVERYTHING for channel in self.channels]
        phase = next(i for i, channel in enumerate(self.channels) if channel.derived == "phase")
        return Domain(phase, _bounds(charge), _bounds(discharge))

    @property
    def id(self) -> str:
        """As scores name it."""
        return f"{self.name}@{self.version}+{self.sha256[:4]}"


def _bounds(limits: Sequence[tuple[float, float]]) -> tuple[Array, Array]:
    both = np.array(limits, dtype=np.float32)
    return both[:, 0], both[:, 1]


@dataclass(frozen=True, slots=True)
class Judgement:
    score: float
    shares: dict[str, float]


class Bundle:
    """A verified bundle with its ONNX Runtime session (one thread: an edge service shares its cores)."""

    def __init__(self, manifest: Manifest, session: ort.InferenceSession) -> None:
        self.manifest = manifest
        self._session = session
        self._offset = np.array([c.offset for c in manifest.channels], dtype=np.float32)
        self._factor = np.array([1.0 / c.scale for c in manifest.channels], dtype=np.float32)

    def judge(self, window: WindowSteps) -> Judgement:
        """Score one window; higher is stranger. The shares of the responses sum to 1 (or are all 0)."""
        score, contributions = self.run(window.values, window.mask)
        total = float(contributions.sum())
        shares = contributions / total if total > 0 else contributions
        return Judgement(score, {n: round(float(s), 4) for n, s in zip(self.manifest.responses, shares, strict=True)})

    def run(self, values: Array, mask: Array) -> tuple[float, Array]:
        """Score and contributions of (window, channels) in physical units."""
        scaled = (values - self._offset) * self._factor
        score, contributions = self._session.run(
            ["score", "contributions"], {"window": scaled[None], "mask": mask[None]}
        )
        return float(score[0]), contributions[0]


def load_bundle(folder: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BundleError: naming the file and the broken rule.
    """
    manifest = read_manifest(folder / MANIFEST)
    path = folder / MODEL
    _check_profile(manifest, folder / MANIFEST)
    try:
        if path.stat().st_size > MAX_MODEL:
            raise BundleError(path, "size", f"more than {MAX_MODEL} bytes")
        model = path.read_bytes()
    except OSError as error:
        raise BundleError(path, "readable", error.strerror or str(error)) from None
    digest = hashlib.sha256(model).hexdigest()
    if digest != manifest.sha256:
        raise BundleError(path, "sha256", f"is {digest[:12]}.., the manifest says {manifest.sha256[:12]}..")
    session = open_session(model, path)
    _check_graph(session, manifest, path)
    bundle = Bundle(manifest, session)
    _try_out(bundle, path)
    return bundle


def open_session(
    model: bytes, path: Path, optimized: Path | None = None, profile: Path | None = None
) -> ort.InferenceSession:
    """A session with one thread.

    Args:
        optimized: where to write the graph as ONNX Runtime rewrote it (for tests).
        profile: begin of the name of a file with what ran and how long (`end_profiling` gives the whole name).
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # x86 without VNNI adds pairs of INT8 products in 16 bits, which saturate: scores were up to twice those of a Pi.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its own for every kind of bad graph
        raise BundleError(path, "graph", " ".join(str(error).split())[:300]) from None


def read_manifest(path: Path) -> Manifest:
    """Raises BundleError naming the file and the broken rule."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BundleError(path, "readable", error.strerror or str(error)) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise BundleError(path, where, first["msg"]) from None


def _check_profile(manifest: Manifest, path: Path) -> None:
    try:
        profile: Profile = load_profile(manifest.profile)
    except EmberwatchError as error:
        raise BundleError(path, "profile", str(error)) from None
    if profile.version != manifest.profile_version:
        raise BundleError(path, "profile_version", f"{manifest.profile_version}, installed is {profile.version}")
    for channel in manifest.channels:
        if channel.derived:
            continue
        known = profile.by_name.get(channel.name)
        if known is None:
            raise BundleError(path, "channels", f"{channel.name} is not in profile {profile.name}")
        if (known.kind == "vector") != (channel.across is not None):
            raise BundleError(path, "channels", f"{channel.name} is a {known.kind}; `across` says otherwise")
        if channel.per is not None and (
            channel.per not in profile.by_name or profile.by_name[channel.per].kind != "vector"
        ):
            raise BundleError(path, "channels", f"{channel.name}: per {channel.per}, which is no vector of the profile")


def _check_graph(session: ort.InferenceSession, manifest: Manifest, path: Path) -> None:
    window = [1, manifest.window, len(manifest.channels)]
    expected = [
        ("input", session.get_inputs(), {"window": window, "mask": window}),
        ("output", session.get_outputs(), {"score": [1], "contributions": [1, len(manifest.responses)]}),
    ]
    for what, nodes, shapes in expected:
        found = {node.name: list(node.shape) for node in nodes}
        if found != shapes:
            raise BundleError(path, f"graph {what}s", f"{found}, expected {shapes}")
        for node in nodes:
            if node.type != "tensor(float)":
                raise BundleError(path, f"graph {what}s", f"{node.name} is {node.type}, expected tensor(float)")


def _try_out(bundle: Bundle, path: Path) -> None:
    """One window at the scaler's centre: catches graphs that load and cannot run."""
    shape = (bundle.manifest.window, len(bundle.manifest.channels))
    values = np.broadcast_to(np.array([c.offset for c in bundle.manifest.channels], dtype=np.float32), shape)
    try:
        score, contributions = bundle.run(values, np.ones(shape, dtype=np.float32))
    except Exception as error:  # as above
        raise BundleError(path, "graph", " ".join(str(error).split())[:300]) from None
    if not (np.isfinite(score) and np.isfinite(contributions).all() and (contributions >= 0).all()):
        raise BundleError(path, "graph", f"gives score {score} on a plain window")
