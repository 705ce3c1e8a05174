"""The statistics of a sweep: each quantity against each axis, with medians, shares and intervals."""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np

from ..tables import new_table, plain_text
from .laws import Law, LawFit, fit_law
from .mechanism import Mechanism
from .mechanism import mechanism as mechanism_of
from .medians import censored_median, share
from .observations import ONCE, PER_VISIT, finished, observations

if TYPE_CHECKING:
    import xarray as xr

WIDTH = 150


class SweepStatistics(eqx.Module):
    """Medians, shares and their intervals in every cell of a sweep; printing it gives a table.

    Attributes:
        cells: a labelled array with the dimensions of the sweep: `flows` and `failed` in each cell; for each quantity
            of `observations`, along `bound` ("estimate", "low", "high"), its Kaplan–Meier median and interval, and
            `NAME_count`, `NAME_censored`; `kind_share` of the visits of each `kind` along the same.
        confidence: level of the intervals.
    """

    cells: Any
    confidence: float = eqx.field(static=True)

    def __str__(self) -> str:
        return _table(self.cells, self.confidence)


def sweep_statistics(flows: "xr.Dataset", *, confidence: float = 0.95) -> SweepStatistics:
    """Statistics over seeds in every cell of a sweep, with flows that the horizon cut off counted as censored.

    Intervals of medians are exact order statistics where nothing was censored below them, else those of Brookmeyer and
    Crowley; intervals of shares are those of Clopper and Pearson.

    Args:
        flows: a labelled array with the dimensions `seed`, `visit` and those of the sweep, as `collect` returns it.
        confidence: level of the intervals.

    Returns:
        The statistics.
    """
    import xarray as xr

    axes = [str(name) for name in flows["visits"].dims if name != "seed"]
    flows = flows.transpose(*axes, "seed", "visit", ...)
    cells = xr.Dataset(coords={name: flows.coords[name] for name in axes if name in flows.coords})
    there = finished(flows)
    cells["flows"] = (axes, there.sum(axis=-1))
    cells["failed"] = (axes, np.asarray((flows["failure"] != "").sum("seed")))
    for quantity in (*ONCE, *PER_VISIT):
        dims = axes if quantity in ONCE else [*axes, "visit"]
        _add_medians(cells, dims, quantity, flows, confidence)
    return SweepStatistics(cells=_with_kinds(cells, axes, flows, there, confidence), confidence=confidence)


def _add_medians(cells: Any, dims: list[str], quantity: str, flows: Any, confidence: float) -> None:
    """Medians over seeds, in place."""
    found = observations(flows, quantity)
    seed = -1 if quantity in ONCE else -2
    values, cut = np.moveaxis(found.values, seed, -1), np.moveaxis(found.censored, seed, -1)
    shape, rows = (
        values.shape[:-1],
        zip(values.reshape(-1, values.shape[-1]), cut.reshape(-1, cut.shape[-1]), strict=True),
    )
    medians = [censored_median(*row, confidence=confidence) for row in rows]
    bounds = np.array([[each.value, each.low, each.high] for each in medians])
    # Half a count below a bound that a count may still be; the median of counts is a count.
    bounds = np.ceil(bounds) if quantity in ONCE else bounds
    cells[quantity] = ([*dims, "bound"], bounds.reshape(*shape, 3))
    cells.coords["bound"] = ["estimate", "low", "high"]
    cells[f"{quantity}_count"] = (dims, np.reshape([each.count for each in medians], shape))
    cells[f"{quantity}_censored"] = (dims, np.reshape([each.censored for each in medians], shape))


def _with_kinds(cells: Any, axes: list[str], flows: Any, there: Any, confidence: float) -> Any:
    """Shares of kinds among the visits of all seeds of a cell that have one."""
    kinds = np.where(there[..., None], np.asarray(flows["kind"]).astype(str), "")
    names = sorted(set(np.unique(kinds)) - {""})
    if not names:
        return cells
    kinds = kinds.reshape(*kinds.shape[:-2], -1)
    known = (kinds != "").sum(axis=-1)
    shares = np.full((*known.shape, len(names), 3), np.nan)
    for cell in zip(*np.nonzero(known), strict=True):
        for k, name in enumerate(names):
            found = share(int(np.sum(kinds[cell] == name)), int(known[cell]), confidence=confidence)
            shares[(*cell, k)] = found.value, found.low, found.high
    return cells.assign(kind_share=([*axes, "kind", "bound"], shares)).assign_coords(kind=names)


def sweep_law(
    flows: "xr.Dataset", axis: str, *, law: Law = "power", quantity: str = "dwell", visit: int = 0, inverse: bool = True
) -> LawFit:
    """The law of dwell times, or of times of arrival, against one axis of a sweep.

    Args:
        flows: as for `sweep_statistics`, with no other axis than this one.
        axis: name of the axis.
        law: "power" for an exponent, "logarithm" for a slope.
        quantity: "dwell" or "arrival".
        visit: on which visit.
        inverse: whether in one over the axis's values, as for the initialisation scale.

    Returns:
        The fit, with an interval over seeds.
    """
    x, times, censored = _against(flows, axis, quantity, visit)
    return fit_law(1 / x if inverse else x, times, censored, law=law)


def sweep_mechanism(flows: "xr.Dataset", *, axis: str = "scale", visit: int = 0) -> Mechanism:
    """Whether the data or the initial weights set the dwell times of one plateau, from a sweep over ε.

    Args:
        flows: as for `sweep_statistics`, with no other axis than ε.
        axis: name of the axis of ε.
        visit: on which visit.

    Returns:
        The mechanism.
    """
    return mechanism_of(*_against(flows, axis, "dwell", visit))


def _against(flows: Any, axis: str, quantity: str, visit: int) -> tuple[Any, Any, Any]:
    """The axis's values, times by value and seed, and which are lower bounds."""
    if quantity not in PER_VISIT:
        raise ValueError(f"a law is of {' or '.join(PER_VISIT)}; got {quantity!r}.")
    axes = [str(name) for name in flows["visits"].dims if name != "seed"]
    if axes != [axis]:
        raise ValueError(f"choose one value of every axis but {axis!r} (flows.sel(…)); the axes are {axes}.")
    found = observations(flows.transpose(axis, "seed", "visit", ...), quantity)
    return np.asarray(flows[axis], float), found.values[..., visit], found.censored[..., visit]


def _table(cells: Any, confidence: float) -> str:
    axes = list(cells["flows"].dims)
    columns = [*axes, "flows", "failed", "censored", "plateaus", "width", "dwell 0", "dwell 1", "kinds"]
    table = new_table(columns, left=("kinds",))
    for index in np.ndindex(cells["flows"].shape):
        cell = cells.isel(dict(zip(axes, index, strict=True)))
        dwells = [_interval(cell["dwell"].isel(visit=k)) for k in range(min(2, cell.sizes["visit"]))]
        kinds = [] if "kind" not in cell.coords else [_kind(cell, str(name)) for name in cell["kind"].values]
        table.add_row(
            *(f"{np.asarray(cell[name]).item()}" for name in axes),
            *(f"{int(cell[name])}" for name in ("flows", "failed", "plateaus_censored")),
            *(_interval(cell[name]) for name in ONCE),
            *(dwells + ["–"] * (2 - len(dwells))),
            ", ".join(each for each in kinds if each),
        )
    return plain_text(
        table, f"medians with {confidence:.0%} intervals; what the horizon cut off is censored", width=WIDTH
    )


def _interval(bounds: Any) -> str:
    median, low, high = np.asarray(bounds, float)
    return "–" if np.isnan(median) else f"{median:.4g} [{low:.4g}, {high:.4g}]"


def _kind(cell: Any, name: str) -> str:
    value = float(cell["kind_share"].sel(kind=name, bound="estimate"))
    return f"{name} {value:.0%}" if value > 0 else ""
