"""The default tolerances of a flow's steps."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

# An absolute tolerance above the smallest weights would erase the very growth that ends a plateau.
PERCENTILE = 0.1


def default_rtol(dtype: Any) -> float:
    """The default relative tolerance: 1e-10 in float64, a thousand machine epsilons otherwise."""
    # In float64 conserved quantities then drift by less than 1e-8.
    return max(1e-10, 1000 * float(jnp.finfo(dtype).eps))


def default_atol(theta: Float[Any, " n"], rtol: float) -> Any:
    """The default absolute tolerance, rtol times the tenth percentile of the non-zero |θ|.

    Args:
        theta: the initial weights θ; under a transformation of JAX's an array of JAX's.
        rtol: the relative tolerance.

    Returns:
        The tolerance, rtol itself where all weights are zero: a float for a NumPy array, else a scalar of JAX's.
    """
    numpy = np if isinstance(theta, np.ndarray) else jnp
    sizes = numpy.abs(theta)
    # With all weights zero the flow has no scale of its own and starts at a critical point of most networks.
    without = numpy.where(numpy.any(sizes > 0), numpy.nan, 1.0).astype(sizes.dtype)
    size = numpy.nanquantile(numpy.where(sizes > 0, sizes, without), PERCENTILE)
    return rtol * (float(size) if numpy is np else size)
