"""All parameters of a model as one vector, and back."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from ...models.units import as_jax


def flatten(model: Any) -> Float[Any, " n"]:
    """All inexact arrays of a model as one vector θ, in the order of its leaves.

    Args:
        model: any PyTree.

    Returns:
        A NumPy array where the values are known, so that nothing is compiled for it; an array of JAX's under one of
        its transformations.

    Raises:
        ValueError: for a model without any.
    """
    leaves = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    if not leaves:
        raise ValueError(f"{type(model).__name__} has no floating-point arrays: it has no parameters.")
    numpy = jnp if any(isinstance(leaf, Tracer) for leaf in leaves) else np
    return numpy.concatenate([numpy.ravel(numpy.asarray(leaf)) for leaf in leaves])


def unflatten(model: Any, theta: Float[Any, " n"]) -> Any:
    """The model with its inexact arrays taken from the vector θ; inverse of `flatten`."""
    dynamic, static = eqx.partition(model, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(dynamic)
    theta = theta if isinstance(theta, Tracer) else np.asarray(theta)
    filled, start = [], 0
    for leaf in leaves:
        filled.append(as_jax(theta[start : start + leaf.size].reshape(leaf.shape).astype(leaf.dtype)))
        start += leaf.size
    return eqx.combine(jax.tree.unflatten(structure, filled), static)
