"""Validation of a flow's arguments: errors name the argument, what was given and the remedy."""

import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...models.arguments import quoted, real, whole
from .tolerances import default_atol, default_rtol

STATELESS = (
    "a state has no gradient flow: hold it fixed in the loss, lambda model, data: loss(model, state, data) with "
    "model, state = eqx.nn.make_with_state(Model)(...) and eqx.nn.inference_mode(model)"
)


def check_model(model: Any) -> None:
    """Checks that a model has finite real floating-point weights; warns where they differ in precision.

    Args:
        model: any Equinox module.

    Raises:
        ValueError: when it has no weights, or weights that are complex, integers, of half precision or not finite, and
            for a model that holds the initial values of a state.
    """
    if any(isinstance(leaf.init, jax.Array) for leaf in _layers(model, eqx.nn.StateIndex)):
        raise ValueError(f"the model holds the initial values of a state among its weights; {STATELESS}.")
    arrays = [leaf for leaf in jax.tree.leaves(model) if eqx.is_array(leaf) or isinstance(leaf, np.ndarray)]
    for array in arrays:
        if jnp.issubdtype(array.dtype, jnp.complexfloating):
            raise ValueError(f"gradient flow is defined for real weights; got {array.dtype}. Split real and imaginary.")
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(
                f"weights must be floating point; got an array of {array.dtype} with shape {array.shape}. Convert it, "
                "or make it a static field if it is not a weight."
            )
        if jnp.finfo(array.dtype).bits < 32:
            raise ValueError(
                f"weights in {array.dtype} are too coarse for an adaptive solver; convert them to float32 or float64, "
                "with jax.tree.map(lambda a: a.astype(float) if eqx.is_inexact_array(a) else a, model)."
            )
        if not np.all(np.isfinite(np.asarray(array))):
            raise ValueError("the model's weights hold NaN or infinite values.")
    if not any(array.size for array in arrays):
        raise ValueError(f"{type(model).__name__} has no floating-point arrays: there is nothing to integrate.")
    if len(found := sorted({str(array.dtype) for array in arrays})) > 1:
        warnings.warn(
            f"the weights are in {' and '.join(found)}: the gradient is as coarse as {found[0]}, at which a solver in "
            f"{found[-1]} needs many small steps. Convert all of them to {found[-1]}.",
            stacklevel=3,
        )


def _layers(model: Any, kind: type) -> list[Any]:
    """The parts of a model that are of some class."""
    parts = jax.tree.leaves(model, is_leaf=lambda part: isinstance(part, kind))
    return [part for part in parts if isinstance(part, kind)]


def _remedy(model: Any) -> str:
    """What to do about a model that needs more than its input."""
    if _layers(model, eqx.nn.StateIndex):
        return f" The model keeps a state; {STATELESS}."
    if any(not layer.inference for layer in _layers(model, eqx.nn.Dropout)):
        return (
            " The model has dropout, whose noise makes the loss random; gradient flow needs a deterministic one: "
            "eqx.nn.inference_mode(model)."
        )
    return ""


def _remedy_of_data(data: Any) -> str:
    """What to do about data in lists, which JAX takes apart."""
    if any(not hasattr(leaf, "dtype") for leaf in jax.tree.leaves(data)):
        return " The data hold Python's own numbers; give arrays, (np.asarray(x), np.asarray(y))."
    return ""


def check_data(data: Any) -> None:
    """Checks that data are numbers, not empty and finite.

    Args:
        data: any PyTree of arrays.

    Raises:
        ValueError: when an array is empty, masked, not finite, or holds no numbers.
    """
    for leaf in jax.tree.leaves(data):
        if isinstance(leaf, np.ma.MaskedArray):
            raise ValueError("the data hold a masked array; give its samples without gaps, or a loss that skips them.")
        # Random keys, which a loss may draw from, are no arrays of NumPy's.
        if isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, np.number):
            continue
        array = np.asarray(leaf)
        if array.dtype.kind in "OSUMm":
            raise ValueError(f"the data must be numbers; got an array of {array.dtype}. Encode it, or convert it.")
        if array.size == 0:
            raise ValueError(f"the data hold no samples: an array of shape {array.shape}.")
        if jnp.issubdtype(array.dtype, jnp.inexact) and not np.all(np.isfinite(array)):
            raise ValueError("the data hold NaN or infinite values.")


def check_loss(loss: Callable[[Any, Any], Any], model: Any, data: Any) -> None:
    """Checks that a loss is a real scalar function of this model and these data.

    Args:
        loss: scalar function of (model, data).
        model: any Equinox module.
        data: any PyTree of arrays.

    Raises:
        ValueError: when it cannot be evaluated or its value is not a real scalar.
    """
    if not callable(loss):
        raise ValueError(f"the loss must be a function of (model, data); got {quoted(loss)}.")
    try:
        value = eqx.filter_eval_shape(loss, model, data)
    except Exception as error:  # a function of somebody's own can fail in any way
        said = _first_line(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {_first_line(error)}"
        remedy = _remedy(model) or _remedy_of_data(data)
        end = "" if said.endswith(".") else "."
        raise ValueError(f"the loss does not fit model and data: {said}{end}{remedy}") from error
    if not hasattr(value, "shape") or value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"the loss must return a real scalar; got {value}.{_remedy(model)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def check_tolerances(rtol: float, atol: float, dtype: Any) -> None:
    """Checks that tolerances can be met.

    Args:
        rtol: relative tolerance.
        atol: absolute tolerance.
        dtype: dtype of the weights.

    Raises:
        ValueError: when one is not positive and finite, or rtol is below 100 machine epsilons.
    """
    rtol, atol = real("rtol", rtol), real("atol", atol)
    if not (np.isfinite(rtol) and rtol > 0 and np.isfinite(atol) and atol > 0):
        raise ValueError(f"tolerances must be positive and finite; got rtol={rtol}, atol={atol}.")
    if rtol >= 1:
        raise ValueError(f"with rtol={rtol:g} no digit would be right; it must be below 1.")
    # Below about 100 epsilons the error estimate is rounding noise and the controller shrinks steps in vain.
    reachable = 100 * float(jnp.finfo(dtype).eps)
    if rtol < reachable:
        raise ValueError(
            f"rtol={rtol:g} cannot be met in {np.dtype(dtype).name}, whose reach is {reachable:.1g}. "
            'Use float64 (jax.config.update("jax_enable_x64", True) before making the model) or a larger rtol.'
        )


def checked_tolerances(theta: Float[np.ndarray, " n"], rtol: float | None, atol: float | None) -> tuple[float, float]:
    """The tolerances given, or the default ones for the initial weights θ, checked."""
    relative = default_rtol(theta.dtype) if rtol is None else real("rtol", rtol)
    absolute: float = default_atol(theta, relative) if atol is None else real("atol", atol)
    check_tolerances(relative, absolute, theta.dtype)
    return relative, absolute


def check_max_steps(max_steps: int) -> None:
    """Checks that a flow may take a step; a `ValueError` where it may not."""
    if whole("max_steps", max_steps) < 1:
        raise ValueError(f"max_steps must be at least 1; got {max_steps}.")


def check_times(t1: float, times: Any, dtype: Any = float) -> Float[np.ndarray, " S"]:
    """Checks the times to step onto.

    Args:
        t1: end of the interval [0, t1].
        times: increasing times in (0, t1], or `None`.
        dtype: dtype of the weights, in which times are counted.

    Returns:
        The times as an increasing array that ends at t1.

    Raises:
        ValueError: when t1 is not positive and finite, or the times do not increase within (0, t1].
    """
    t1, info = real("t1", t1), jnp.finfo(dtype)
    if not (np.isfinite(t1) and t1 > 0):
        raise ValueError(f"t1 must be positive and finite; got {t1}.")
    # Compiled programs take smaller numbers for zero.
    if not float(info.tiny) / float(info.eps) <= t1 <= float(info.max):
        raise ValueError(f"t1={t1:g} is out of the range of {np.dtype(dtype).name}; change the unit of the loss.")
    stops = _increasing_times(times)
    if stops.size and stops[-1] > t1:
        raise ValueError(f"save_times reaches to {stops[-1]:g}, beyond t1={t1:g}.")
    stops = (stops if stops.size and stops[-1] == t1 else np.append(stops, t1)).astype(dtype)
    if np.any(np.diff(stops) <= 0):
        raise ValueError(f"save_times must differ in {np.dtype(dtype).name}, the precision of the weights.")
    return stops


def _increasing_times(times: Any) -> Float[np.ndarray, " S"]:
    """Times as an array."""
    try:
        array = np.asarray([] if times is None else times if isinstance(times, np.ndarray) else list(times), float)
    except (TypeError, ValueError):
        raise ValueError(f"save_times must be increasing positive times; got {quoted(times)}.") from None
    if array.ndim != 1 or not np.all(np.isfinite(array)) or np.any(array <= 0) or np.any(np.diff(array) <= 0):
        raise ValueError("save_times must be a one-dimensional array of increasing positive times.")
    return array
