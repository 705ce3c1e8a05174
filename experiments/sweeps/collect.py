"""All cells of a sweep as one labelled store."""

import itertools
import json
import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from .cell import DamagedCell, load_cell
from .configuration import Configuration, Value, from_canonical
from .folder import Folder, read_plan

if TYPE_CHECKING:
    import xarray as xr

# A grid that the cells fill by less than this share is not what was meant.
SPARSE = 1 / 16
# Settings that are taken before others to follow from the rest.
FOLLOWING = ("rtol", "budget", "t1")
Settings = dict[str, Value]
Cells = list[tuple[Configuration, "xr.Dataset"]]


def collect(folder: str | Path) -> "xr.Dataset":
    """All cells of a sweep as one data set.

    Its dimensions are the settings that take several values, then `seed` and `visit`, and whatever others the cells
    have. Settings with one value, and those that follow from the others, are coordinates. Where there is no cell, and
    beyond the end of what is shorter, numbers are NaN, integers −1, truth values `False` and strings empty.

    Args:
        folder: the sweep's.

    Returns:
        The data set, in memory.

    Raises:
        ValueError: when there are no cells, or the settings are no grid.
    """
    home = Folder(folder)
    cells = _cells(home)
    if not cells:
        raise ValueError(f"there are no cells in {home.cells}.")
    settings = [_settings(configuration) for configuration, _ in cells]
    with suppress(ValueError):
        settings += [_settings(each) for each in read_plan(home)]
    axes = _axes(settings)
    size = math.prod(len(values) for values in axes.values())
    if size * SPARSE > len({tuple(each.get(name) for name in axes) for each in settings}):
        sizes = ", ".join(f"{name}: {len(values)} values" for name, values in axes.items())
        raise ValueError(f"the settings of {home} are no grid ({sizes}, {len(cells)} cells); use one folder for each.")
    return _assembled(cells, settings, axes)


def _cells(home: Folder) -> Cells:
    """All whole cells, in the order of their names."""
    found: Cells = []
    damaged: list[str] = []
    for path in sorted(home.cells.glob("*.npz")):
        try:
            cell = load_cell(path)
        except DamagedCell:
            damaged.append(path.name)
        else:
            found.append((from_canonical(json.loads(cell.attrs["configuration"])), cell))
    if damaged:
        warnings.warn(f"{len(damaged)} damaged cells are left out: {', '.join(damaged[:3])}.", stacklevel=3)
    return found


def _settings(configuration: Configuration) -> Settings:
    return {"experiment": configuration.experiment, **configuration.parameters}


def _axes(settings: Sequence[Settings]) -> dict[str, list[Value]]:
    """The values of the settings that vary, but of those that follow from the others."""
    names = list(dict.fromkeys(itertools.chain.from_iterable(settings)))
    varying = [name for name in names if len({each.get(name) for each in settings}) > 1]

    def different(kept: Sequence[str]) -> int:
        return len({tuple(each.get(name) for name in kept) for each in settings})

    all_different = different(varying)
    for name in sorted(reversed(varying), key=lambda name: FOLLOWING.index(name) if name in FOLLOWING else 9):
        others = [other for other in varying if other != name]
        if different(others) == all_different:
            varying = others
    return {name: _sorted({each.get(name) for each in settings}) for name in varying}


def _sorted(values: set[Any]) -> list[Any]:
    """Rising; where a setting is missing, which is another value, it comes first."""
    return sorted(values, key=lambda value: (value is not None, isinstance(value, str), value))


def _assembled(cells: Cells, settings: Sequence[Settings], axes: dict[str, list[Value]]) -> "xr.Dataset":
    """Puts every cell in its place."""
    import xarray as xr

    seeds = sorted({seed for configuration, _ in cells for seed in configuration.seeds})
    sizes: dict[str, int] = {}
    for _, cell in cells:
        for dim, size in cell.sizes.items():
            sizes[str(dim)] = max(sizes.get(str(dim), 0), size)
    sizes |= {"seed": len(seeds)}
    variables: dict[str, Any] = {}
    for name in dict.fromkeys(str(name) for _, cell in cells for name in cell.variables if name != "seed"):
        example = max((cell[name] for _, cell in cells if name in cell), key=lambda array: array.dtype.itemsize)
        dims = tuple(map(str, example.dims))
        swept = axes if "seed" in dims else {}
        shape = *(len(values) for values in swept.values()), *(sizes[dim] for dim in dims)
        whole = _padding(example.dtype, shape)
        for configuration, cell in cells:
            if name in cell:
                whole[_place(configuration, cell[name], swept, seeds)] = cell[name].values
        variables[name] = ((*swept, *dims), whole)
    coordinates: dict[str, Any] = {name: _coordinate(values) for name, values in axes.items()}
    coordinates |= {"seed": np.array(seeds, np.int64), **_following(settings, axes)}
    attributes = {"schema": cells[0][1].attrs["schema"]}
    attributes |= {name: _common([cell.attrs[name] for _, cell in cells]) for name in ("versions", "commit")}
    attributes["block"] = max(len(each.seeds) for each, _ in cells)
    return xr.Dataset(variables, coords=coordinates, attrs=attributes)


def _place(
    configuration: Configuration, array: "xr.DataArray", axes: dict[str, list[Value]], seeds: list[int]
) -> tuple[int | slice, ...]:
    """Where a cell's array belongs in the whole one."""
    mine = _settings(configuration)
    place: list[int | slice] = [values.index(mine.get(name)) for name, values in axes.items()]  # pyright: ignore
    first = seeds.index(configuration.seeds.start)
    for dim, size in array.sizes.items():
        start = first if dim == "seed" else 0
        place.append(slice(start, start + size))
    return tuple(place)


def _padding(kind: np.dtype[Any], shape: tuple[int, ...]) -> Shaped[np.ndarray, "..."]:
    fill: Any = {"f": np.nan, "c": np.nan, "i": -1, "U": "", "S": b""}.get(kind.kind, 0)
    return np.full(shape, fill, kind)


def _coordinate(values: Sequence[Any]) -> Shaped[np.ndarray, " n"]:
    """Values of an axis; a setting that some experiments do not have is NaN or empty there."""
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else str(value) for value in values])
    return np.array([np.nan if value is None else value for value in values])


def _following(settings: Sequence[Settings], axes: dict[str, list[Value]]) -> dict[str, Any]:
    """The settings that are no axes: one value, or one for each point of the grid."""
    names = [name for name in dict.fromkeys(itertools.chain.from_iterable(settings)) if name not in axes]
    found: dict[str, Any] = {}
    for name in names:
        values = {each.get(name) for each in settings}
        if len(values) == 1:
            found[name] = values.pop()
            continue
        array = _padding(_coordinate(list(values)).dtype, tuple(map(len, axes.values())))
        for each in settings:
            place = tuple(values.index(each.get(axis)) for axis, values in axes.items())  # pyright: ignore
            array[place] = np.nan if each.get(name) is None else each[name]
        found[name] = (tuple(axes), array)
    return found


def _common(values: list[str]) -> str:
    """The value that all have, or all values."""
    return " | ".join(dict.fromkeys(values))
