"""Reading pickles of strangers: numbers, text, arrays and plain containers, and nothing else.

A pickle is a program. This one may name nothing but how NumPy rebuilds an array or a number, and for these it gets
stand-ins of ours: NumPy's own crash the process when their arguments are damaged. The unpickler is Python's pure one,
because a damaged index makes the fast one reserve tens of gigabytes.
"""

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from training.data.errors import DataError

FILE_MAX: Final = 16 * 2**20  # bytes; a snippet has 17 KB
TORCH_MAGIC: Final = 0x1950A86A20F9469CFC6C  # first of the pickles in a file of torch.save before torch 1.6
NUMBERS: Final = re.compile(r"([fiu][1248]|b1|[US]\d{1,4})")
ONLY: Final = "only numpy arrays and plain containers may be"


def read_pickle(path: Path) -> Any:
    """Read a pickle; also one that torch.save wrote.

    Raises:
        DataError: the file names another class or function (none of it is run), or is no pickle.
    """
    try:
        if path.stat().st_size > FILE_MAX:
            raise DataError(path, "size", f"more than {FILE_MAX} bytes")
        content = path.read_bytes()
        if content.startswith(b"PK"):  # torch.save from torch 1.6 on
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                inside = next((n for n in archive.namelist() if n.endswith("data.pkl")), None)
                if inside is None or archive.getinfo(inside).file_size > FILE_MAX:
                    raise DataError(path, "pickle", "a zip without a small data.pkl in it")
                content = archive.read(inside)
        stream = io.BytesIO(content)
        found = _Restricted(stream).load()
        if found == TORCH_MAGIC:  # then its version, then the machine, then the object
            for _ in range(3):
                found = _Restricted(stream).load()
        return _finished(found)
    except OSError as error:
        raise DataError(path, "readable", error.strerror or str(error)) from None
    except DataError:
        raise
    except _RefusedError as error:
        raise DataError(path, "pickle", str(error)) from None
    except Exception as error:  # a damaged pickle raises nearly anything
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise DataError(path, "pickle", f"damaged ({what})") from None


class _RefusedError(Exception):
    """The pickle holds what it must not."""


class _Dtype:
    """Stands for numpy.dtype: the type of plain numbers and text."""

    def __init__(self, code: str, *_: object) -> None:
        if not isinstance(code, str) or not NUMBERS.fullmatch(code):
            raise _RefusedError(f"an array of {str(code)[:20]}, expected numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for numpy.ndarray, empty until its state comes."""

    def __new__(cls, *_: object) -> "_Array":
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        self.values: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, columns_first, raw = state
        self._fill(raw, dtype, shape, "F" if columns_first else "C")

    def _fill(self, raw: Any, dtype: Any, shape: Any, order: Any) -> None:
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray):
            raise _RefusedError(f"an array of {type(raw).__name__}, expected numbers")
        if dtype.dtype.itemsize * prod(shape) != len(raw) or min(shape, default=0) < 0:
            raise ValueError(f"{len(raw)} bytes for an array of {shape}")
        self.values = np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if order == "F" else "C").copy()


class _FromBuffer(_Array):
    """Stands for what rebuilds arrays in protocol 5."""

    def __init__(self, raw: Any, dtype: Any, shape: Any, order: Any) -> None:
        self._fill(raw, dtype, shape, order)

    def __setstate__(self, state: object) -> None:
        raise _RefusedError("an array that is filled twice")


class _Scalar:
    """Stands for what rebuilds a number of NumPy's; it is a plain one."""

    def __new__(cls, dtype: Any, raw: bytes) -> Any:
        if not isinstance(dtype, _Dtype) or dtype.dtype.itemsize != len(raw):
            raise ValueError("a number of another size")
        return np.frombuffer(raw, dtype.dtype)[0].item()

    def __setstate__(self, state: object) -> None:
        raise _RefusedError("a number with a state")


class _Bytes:
    """Stands for how protocol 2 holds bytes."""

    def __new__(cls, text: str, encoding: str) -> Any:
        if encoding not in ("latin1", "latin-1"):
            raise ValueError(f"bytes in {encoding}")
        return text.encode("latin1")

    def __setstate__(self, state: object) -> None:
        raise _RefusedError("bytes with a state")


ALLOWED: Final[Mapping[tuple[str, str], type]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "scalar"): _Scalar,
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _Bytes,
}


class _Restricted(pickle._Unpickler):
    """Finds only the stand-ins."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = ALLOWED.get((module.replace("numpy.core.", "numpy._core."), name))
        if allowed is None:
            raise _RefusedError(f"names {module}.{name}; {ONLY}")
        return allowed

    def persistent_load(self, pid: Any) -> Any:
        raise _RefusedError(f"holds a torch tensor; {ONLY}")

    def get_extension(self, code: int) -> None:
        raise _RefusedError(f"names extension {code}; {ONLY}")


def _finished(value: Any) -> Any:
    """With arrays in the place of their stand-ins."""
    if isinstance(value, _Array):
        if value.values is None:
            raise ValueError("an array without its numbers")
        return value.values
    if isinstance(value, tuple | list):
        return type(value)(_finished(element) for element in value)
    if isinstance(value, dict):
        return {_finished(key): _finished(element) for key, element in value.items()}
    if isinstance(value, type | _Dtype):
        raise _RefusedError(f"holds a class; {ONLY}")
    return value
