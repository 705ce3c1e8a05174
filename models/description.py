"""What `print(network)` says of any network."""

import itertools
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from .units import layers_of, width


def description(model: Any) -> str:
    """Describes the parameters of a network and its layers of units.

    Args:
        model: a network, with or without declared units.

    Returns:
        A line of the number of parameters and their root mean square, and a line for every run of layers of one law.
    """
    arrays = [leaf for leaf in jax.tree.leaves(model) if eqx.is_inexact_array(leaf)]
    lines = [f"{type(model).__name__}: {sum(array.size for array in arrays)} parameters"]
    if arrays and not any(isinstance(array, Tracer) for array in arrays):
        values = np.concatenate([np.ravel(array) for array in arrays])
        lines[0] += f" with root mean square {np.sqrt(np.mean(values**2)):.3g}"
    layers = layers_of(model)
    for law, run in itertools.groupby(range(len(layers)), key=lambda k: layers[k].law):
        where = tuple(run)
        widths = ", ".join(str(width(model, k)) for k in where)
        names = ", ".join(layers[k].name or f"layer {k + 1}" for k in where)
        lines.append(f"{names}: {widths} units; {law}")
    return "\n".join(lines)
