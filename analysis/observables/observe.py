"""Quantities of the model along a flow, as labelled arrays."""

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ...flows import Trajectory
from ...models.arguments import quoted, record
from .evaluation import Values, evaluate_at
from .observable import Observable, Quantity, checked

if TYPE_CHECKING:
    from xarray import Dataset


def observe(
    trajectory: Trajectory,
    functions: Mapping[str, Any],
    *,
    ts: Iterable[float] | None = None,
) -> "Dataset":
    """The values of some functions of the model along a flow.

    All functions of JAX's arrays are compiled together, once for all times. Where one fails or is not finite, that is
    warned about, noted in the variable's attribute `missing`, and NaN there. Bad names, times outside of the flow, and
    functions that fail at all times are refused by a `ValueError`.

    Args:
        trajectory: a flow, by `simulate`.
        functions: observables, or plain functions of the model, by the name of the result. Each returns an array or a
            dictionary of arrays, which become variables `name` or `name_key`.
        ts: increasing times at which to evaluate them, which are stepped onto, not interpolated; by default those of
            all accepted steps, `trajectory.ts`, of which `trajectory.ts[::10]` are fewer.

    Returns:
        An `xarray.Dataset` with `time` as the first dimension of every variable.
    """
    record("trajectory", trajectory, Trajectory, "returned by simulate")
    observables = checked(functions)
    times, thetas = states(trajectory, ts)
    found = evaluate_at(trajectory.initial_model, observables, thetas)
    return _dataset(trajectory, times, observables, found)


def states(
    trajectory: Trajectory, ts: Iterable[float] | None
) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, "T n"]]:
    """Times and flattened parameters at some times of a flow.

    Args:
        trajectory: the flow.
        ts: increasing times; `None` for those of all accepted steps.

    Returns:
        Times and parameters, one row each.

    Raises:
        ValueError: for times that do not increase, or lie outside of the flow.
    """
    if ts is None:
        return trajectory.ts, trajectory.thetas
    try:
        times = np.asarray(list(ts), dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"ts must be increasing times; got {quoted(ts)}.") from None
    if times.ndim != 1 or not len(times) or not np.all(np.diff(times) > 0):
        raise ValueError(f"ts must be at least one increasing time; got {times}.")
    return times, np.stack([trajectory.evaluate(float(t)) for t in times])


def labelled(
    times: Float[np.ndarray, " T"], arrays: Mapping[str, np.ndarray], quantities: Mapping[str, Quantity]
) -> "Dataset":
    """Arrays with time on their first axis as a dataset.

    Args:
        times: of the first axis of all.
        arrays: by name.
        quantities: their labels, by name; arrays without any get axes of their own.

    Returns:
        The dataset.
    """
    # Here, since it takes most of a second, and few need it.
    import xarray

    sizes: dict[str, tuple[int, tuple[str, ...] | None]] = {}
    variables: dict[str, Any] = {}
    coordinates: dict[str, Any] = {"time": ("time", times, {"long_name": "time t", "units": "1"})}
    for name, array in arrays.items():
        quantity = quantities.get(name, Quantity(name))
        axes = quantity.axes or tuple(f"{name}_{k}" for k in range(array.ndim - 1))
        dimensions: list[str] = []
        for axis, size in zip(axes, array.shape[1:], strict=True):
            labels = tuple(quantity.labels[axis]) if axis in quantity.labels else None
            # An axis of that name but of other entries is another axis: xarray would join the two.
            dimension = axis if sizes.get(axis, (size, labels)) == (size, labels) else f"{name}_{axis}"
            sizes[dimension] = (size, labels)
            if labels is not None:
                coordinates[dimension] = (dimension, list(labels))
            dimensions.append(dimension)
        attributes = {"long_name": quantity.long_name, "units": quantity.measured_in}
        variables[name] = (("time", *dimensions), array, attributes)
    return xarray.Dataset(variables, coords=coordinates)


def _dataset(
    trajectory: Trajectory,
    times: Float[np.ndarray, " T"],
    observables: Mapping[str, Observable],
    found: Mapping[str, Values],
) -> "Dataset":
    arrays: dict[str, np.ndarray] = {}
    quantities: dict[str, Quantity] = {}
    missing: dict[str, str] = {}
    for name, values in found.items():
        for key, array in values.arrays.items():
            variable = f"{name}_{key}" if key else name
            arrays[variable] = array
            if key in observables[name].quantities:
                quantities[variable] = observables[name].quantities[key]
            if why := _missing(times, array, values):
                missing[variable] = why
                warnings.warn(f"the observable {variable!r} {why}.", stacklevel=3)
    dataset = labelled(times, arrays, quantities)
    dataset.attrs["model"] = type(trajectory.initial_model).__name__
    for variable, why in missing.items():
        dataset[variable].attrs["missing"] = why
    return dataset


def _missing(times: Float[np.ndarray, " T"], array: np.ndarray, values: Values) -> str:
    """At how many times a variable is missing, and why; nothing where it is not."""
    bad = values.failed | ~np.all(np.isfinite(array), axis=tuple(range(1, array.ndim)))
    if not np.any(bad):
        return ""
    told, error = [], values.error
    for what, where in ((f"failed ({error!r})", values.failed), ("is not finite", bad & ~values.failed)):
        if np.any(where):
            told.append(f"{what} at {np.sum(where)} of {len(times)} times, first at t = {times[np.argmax(where)]:.6g}")
    return "; ".join(told)
