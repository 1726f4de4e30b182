"""Arrays that grow, and arrays as bytes: how the rows of a bank are held and kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
#: Which service, region or time zone each row has: half the memory of Ints.
Numbers = NDArray[np.int32]


def grown(array: NDArray[Any], rows: int, fill: float = 0) -> NDArray[Any]:
    """`array` with room for `rows` entries on its last axis, new ones `fill`; room doubles, so that adding is cheap."""
    room = array.shape[-1]
    if rows <= room:
        return array
    wider = np.full((*array.shape[:-1], max(rows, 2 * room, 8)), fill, dtype=array.dtype)
    wider[..., :room] = array
    return wider


def exact_sums(groups: NDArray[np.integer[Any]], values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Sum of the values of each group 0 to `size` - 1, the same in any order of them.

    Values are rounded to multiples of 2^-20, whose sums are exact below 8e9.

    >>> exact_sums(np.array([0, 2, 0]), np.array([0.5, 7.0, 0.25]), 3).tolist()
    [0.75, 0.0, 7.0]
    """
    sums: NDArray[np.float64] = np.bincount(groups, np.rint(values * 1_048_576.0), size) / 1_048_576.0
    return sums


def either(one: Flags | None, other: Flags | None) -> Flags | None:
    """Flags that are set in one or the other; None stands for none set."""
    if one is None or other is None:
        return one if other is None else other
    return one | other


def check_all(arrays: Mapping[str, NDArray[Any]], like: Mapping[str, NDArray[Any]], what: str) -> None:
    """ValueError unless these are the arrays of `like` by name, shape and type. what: whose they are, for people."""
    if set(like) != set(arrays):
        raise ValueError(f"arrays are {sorted(arrays)}, but {what} has {sorted(like)}")
    for name, array in like.items():
        check_like(name, arrays[name], array)


def check_like(name: str, array: NDArray[Any], like: NDArray[Any]) -> None:
    """ValueError unless `array` has the shape and type of `like` and finite numbers."""
    if array.shape != like.shape or array.dtype != like.dtype:
        raise ValueError(f"array {name} is {array.dtype}{array.shape}, these series need {like.dtype}{like.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"array {name} has numbers that are not finite")


class Array(msgspec.Struct, frozen=True, array_like=True):
    """A NumPy array as bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: NDArray[Any]) -> Array:
        return cls(array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes())

    def load(self) -> NDArray[Any]:
        """ValueError where the bytes do not fit; arrays of objects are refused: a changelog is not to be trusted."""
        try:
            dtype = np.dtype(self.dtype)
        except (TypeError, SyntaxError) as error:
            raise ValueError(f"no array: {error}") from error
        if dtype.hasobject:
            raise ValueError("arrays of objects are not read")
        return np.frombuffer(self.data, dtype).reshape(self.shape).copy()


def pack(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
    """Arrays by name, as bytes."""
    return {name: Array.of(array) for name, array in arrays.items()}


def unpack(arrays: Mapping[str, Array]) -> dict[str, NDArray[Any]]:
    """The arrays of `pack`. ValueError as `Array.load`."""
    return {name: array.load() for name, array in arrays.items()}
