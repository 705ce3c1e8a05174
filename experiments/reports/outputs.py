"""What the network computes along a flow: a curve, a map of the plane, or outputs beside their targets."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ...analysis.observables.evaluation import evaluate_at
from ...analysis.observables.observable import Observable

# Points of a curve, and along each side of a map; samples drawn beside them; outputs drawn.
CURVE, SIDE, SAMPLES, OUTPUTS = 81, 17, 120, 2
# What is drawn reaches beyond the data by this share of their range.
BEYOND = 0.1


class InputOutput(NamedTuple):
    """The network's outputs at some inputs along a flow.

    Attributes:
        form: "curve" over one input, "plane" over two, "samples" of targets with outputs beside them.
        x: inputs of a curve (k) or of a plane (k, 2); targets of samples (k, outputs).
        outputs: at each state.
        samples: inputs and targets of the data beside a curve or a plane.
    """

    form: Literal["curve", "plane", "samples"]
    x: Float[np.ndarray, "k ..."]
    outputs: Float[np.ndarray, "F k o"]
    samples: tuple[Float[np.ndarray, "s d"], Float[np.ndarray, "s o"]] | None = None


def input_output(model: Any, data: Any, thetas: Float[np.ndarray, "F n"]) -> InputOutput | None:
    """The map from inputs to outputs at each state of a flow.

    Args:
        model: of the flow.
        data: a pair of inputs, arrays or a PyTree of them, and targets.
        thetas: states of the flow.

    Returns:
        The map; `None` where the data are no such pair, or the model does not take one input and return one vector.
    """
    if not (isinstance(data, tuple) and len(data) == 2 and jax.tree.leaves(data[0])):
        return None
    x, y = jax.tree.map(lambda array: np.asarray(array)[:SAMPLES], data)
    y = np.asarray(y, float)
    try:
        if isinstance(x, np.ndarray) and x.ndim == 2 and x.shape[1] in (1, 2) and np.issubdtype(x.dtype, np.floating):
            grid = _line(x[:, 0])[:, None] if x.shape[1] == 1 else _grid(x)
            outputs = _outputs(model, grid, thetas)
            samples = (x, y[:, :OUTPUTS]) if y.ndim == 2 else None
            form = "curve" if x.shape[1] == 1 else "plane"
            return InputOutput(form, grid[:, 0] if form == "curve" else grid, outputs, samples)
        outputs = _outputs(model, x, thetas)
    except ValueError:
        return None
    return InputOutput("samples", y[:, :OUTPUTS], outputs) if y.ndim == 2 and len(y) == outputs.shape[1] else None


def _outputs(model: Any, x: Any, thetas: Float[np.ndarray, "F n"]) -> Float[np.ndarray, "F k o"]:
    """Outputs for all inputs at all states; a `ValueError` where the model cannot be called so."""
    call: Callable[[Any], Any] = lambda model: jax.vmap(model)(x)  # noqa: E731
    values = evaluate_at(model, {"outputs": Observable(call, quantities={})}, thetas)["outputs"].arrays
    outputs = values[""].astype(float)
    if outputs.ndim != 3 or not np.all(np.isfinite(outputs)):
        raise ValueError("the outputs are no finite vectors.")
    return outputs[..., :OUTPUTS]


def _line(values: Float[np.ndarray, " s"], count: int = CURVE) -> Float[np.ndarray, " k"]:
    low, high = float(np.min(values)), float(np.max(values))
    more = BEYOND * ((high - low) or 1.0)
    return np.linspace(low - more, high + more, count)


def _grid(x: Float[np.ndarray, "s 2"]) -> Float[np.ndarray, "k 2"]:
    sides = np.meshgrid(*(_line(column, SIDE) for column in x.T), indexing="ij")
    return np.stack([side.ravel() for side in sides], axis=1)
