"""ONNX graphs written by hand: the same lines give the float graph and, with ranges, the static INT8 one (QDQ).

Written by hand because an exported graph carries names, shapes and leftovers as large as so small a net's weights, and
because what stays float is then a decision of the one who writes and not of a converter. U8 activations, S8 weights per
output channel and symmetric, bias int32 in the product of both scales: ONNX Runtime fuses each piece to QLinearConv,
QLinearAdd, .. (training/compress/bundle.py counts them).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 17
WEIGHT_MAX: Final = 63
"""7 of 8 bits: processors without VNNI add pairs of U8 x S8 products in 16 bits, which 8-bit weights can saturate where
ONNX Runtime is not told to be exact (services/inference/bundle.py tells it)."""


@dataclass(frozen=True, slots=True)
class Grid:
    """U8 numbers: value = scale * (integer - zero)."""

    scale: float
    zero: int

    @classmethod
    def over(cls, low: float, high: float) -> "Grid":
        """The grid of a range; it always holds 0 exactly, for padding."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32((high - low) / 255)) or 1.0
        return cls(scale, int(np.clip(round(-low / scale), 0, 255)))


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph; `grid` where it is integer."""

    name: str
    grid: Grid | None = None


class Graph:
    """Nodes in the order in which they are asked for.

    Args:
        ranges: label -> (lowest, highest) value, from calibrate.observe on the float graph; None = write that one.
        weight_max: largest integer of a weight, 127 or 63.
    """

    def __init__(self, ranges: Mapping[str, tuple[float, float]] | None = None, weight_max: int = WEIGHT_MAX) -> None:
        self.observed: dict[str, str] = {}  # label -> tensor of the float graph
        self._ranges, self._weight_max = ranges, weight_max
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[tuple[Any, ...], onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    @property
    def integer(self) -> bool:
        return self._ranges is not None

    def input(self, name: str, shape: Sequence[int]) -> Tensor:
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        return Tensor(name)

    def output(self, name: str, tensor: Tensor, shape: Sequence[int]) -> None:
        """Give a tensor out under this name, as float."""
        before = self.dequantize(tensor).name
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [name if used == before else used for used in names]
        self.observed = {label: name if used == before else used for label, used in self.observed.items()}
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def constant(self, values: NDArray[Any] | np.uint8 | float | Sequence[int]) -> Tensor:
        """An initializer; equal ones are kept once. Floats become float32, other integers than 8 and 32 bits int64."""
        array = np.asarray(values)
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        elif array.dtype not in (np.int8, np.uint8, np.int32):
            array = array.astype(np.int64)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._initializers:
            self._initializers[key] = numpy_helper.from_array(array, f"c{len(self._initializers)}")
        return Tensor(self._initializers[key].name)

    def node(self, operator: str, *inputs: Tensor, **attributes: Any) -> Tensor:
        """Any operator with one output, in float; integer inputs are dequantized."""
        return self._emit(operator, *(self.dequantize(tensor).name for tensor in inputs), **attributes)

    def nodes(self, operator: str, *inputs: Tensor | None, count: int, **attributes: Any) -> list[Tensor]:
        """An operator with several outputs; an input that is None is left out."""
        names = [f"v{self._count + i}" for i in range(count)]
        self._count += count
        given = ["" if tensor is None else self.dequantize(tensor).name for tensor in inputs]
        self._nodes.append(helper.make_node(operator, given, names, **attributes))
        return [Tensor(name) for name in names]

    def split(self, tensor: Tensor, axis: int, sizes: Sequence[int]) -> list[Tensor]:
        return self.nodes("Split", tensor, self.constant(sizes), count=len(sizes), axis=axis)

    def transpose(self, tensor: Tensor, order: Sequence[int]) -> Tensor:
        """Integer stays integer."""
        return Tensor(self._emit("Transpose", tensor.name, perm=list(order)).name, tensor.grid)

    def carried(self, name: str, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """A stream's memory: the last shape[-1] values come in as `name`, then `tensor`; what is last of both goes out
        as `name`_next. Integer stays integer."""
        kind = TensorProto.FLOAT if tensor.grid is None else TensorProto.UINT8
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        joined = Tensor(self._emit("Concat", name, tensor.name, axis=len(shape) - 1).name, tensor.grid)
        ends = [self.constant([value]).name for value in (-shape[-1], np.iinfo(np.int64).max, len(shape) - 1)]
        self._emit("Slice", joined.name, *ends)
        self._nodes[-1].output[0] = f"{name}_next"
        self._outputs.append(helper.make_tensor_value_info(f"{name}_next", kind, list(shape)))
        return joined

    # --- what becomes integer -----------------------------------------------------------------------------------------

    def quantize(self, label: str, tensor: Tensor) -> Tensor:
        """The border from float to integer. In the float graph the tensor is only noted, to be observed."""
        self.observed[label] = tensor.name
        if self._ranges is None:
            return tensor
        return self._quantized(tensor.name, Grid.over(*self._ranges[label]))

    def dequantize(self, tensor: Tensor) -> Tensor:
        """The border back. Each use has a node of its own: ONNX Runtime fuses none that is shared."""
        if tensor.grid is None:
            return tensor
        scale, zero = self.constant(tensor.grid.scale), self.constant(np.uint8(tensor.grid.zero))
        return self._emit("DequantizeLinear", tensor.name, scale.name, zero.name)

    def conv(
        self,
        label: str,
        tensor: Tensor,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        *,
        pads: tuple[int, int] = (0, 0),
        stride: int = 1,
        dilation: int = 1,
        relu: bool = False,
    ) -> Tensor:
        """Conv1d, (out, in, kernel); padding is an attribute, since a Pad node would stay float."""
        attributes: dict[str, Any] = {"pads": list(pads), "strides": [stride], "dilations": [dilation]}
        if self._ranges is None:
            given = (tensor, self.constant(weight.astype(np.float32)), self.constant(bias.astype(np.float32)))
            return self._named(label, self.node("Conv", *given, **attributes), relu)
        if tensor.grid is None:
            raise ValueError(f"{label}: its input is not quantized")
        scale = np.maximum(np.abs(weight).max(axis=(1, 2)), 1e-8).astype(np.float32) / np.float32(self._weight_max)
        integers = np.clip(np.round(weight / scale[:, None, None]), -self._weight_max, self._weight_max)
        bias_scale = (scale * np.float32(tensor.grid.scale)).astype(np.float32)
        bias_integers = np.round(bias / bias_scale).astype(np.int32)
        weight_name = self._constant_dequantized(integers.astype(np.int8), scale)
        bias_name = self._constant_dequantized(bias_integers, bias_scale)
        convolved = self._emit("Conv", self.dequantize(tensor).name, weight_name, bias_name, **attributes)
        return self._named(label, convolved, relu)

    def add(self, label: str, one: Tensor, other: Tensor, *, relu: bool = False) -> Tensor:
        return self._named(label, self.node("Add", one, other), relu)

    def multiply(self, label: str, one: Tensor, other: Tensor) -> Tensor:
        return self._named(label, self.node("Mul", one, other), relu=False)

    def concat(self, label: str, *tensors: Tensor, axis: int = 1) -> Tensor:
        return self._named(label, self.node("Concat", *tensors, axis=axis), relu=False)

    def _named(self, label: str, tensor: Tensor, relu: bool) -> Tensor:
        """The result of an operation under its label: observed in float, quantized in integer."""
        if self._ranges is None or not relu:
            return self.quantize(label, self.node("Relu", tensor) if relu else tensor)
        self.observed[label] = tensor.name
        return self._quantized(tensor.name, Grid.over(0.0, self._ranges[label][1]))  # begins at 0: is the rectifier

    def _quantized(self, name: str, grid: Grid) -> Tensor:
        scale, zero = self.constant(grid.scale), self.constant(np.uint8(grid.zero))
        return Tensor(self._emit("QuantizeLinear", name, scale.name, zero.name).name, grid)

    def _constant_dequantized(self, integers: NDArray[Any], scale: NDArray[np.float32]) -> str:
        # no zero point: none is 0, and ONNX Runtime cannot widen 8-bit weights whose convolutions share one
        given = [self.constant(part).name for part in (integers, scale)]
        return self._emit("DequantizeLinear", *given, axis=0).name

    def _emit(self, operator: str, *inputs: str, **attributes: Any) -> Tensor:
        name = f"v{self._count}"
        self._count += 1
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return Tensor(name)

    def model(self) -> onnx.ModelProto:
        """Checked; without shapes of the inside, which ONNX Runtime finds by itself."""
        graph = helper.make_graph(self._nodes, "g", self._inputs, self._outputs, list(self._initializers.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        return model
