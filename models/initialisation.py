"""Initial weights: independent normal entries, or near a manifold of small effective width."""

import functools
import math
from typing import Any

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from .quick import quickly_compiled
from .unit_axis import array_namespace
from .units import incoming, unit_vectors, with_units

# At least this number of entries is drawn: one compiled function serves all smaller arrays, in 0.2 ms.
ROOM = 2**14


def normal_array(key: PRNGKeyArray, shape: tuple[int, ...], scale: float = 1.0) -> Float[Array, "..."]:
    """Draws an array with independent entries from N(0, scale²).

    Args:
        key: random key.
        shape: shape of the array.
        scale: standard deviation; by default 1.

    Returns:
        The array.
    """
    size = int(math.prod(shape))  # of NumPy's integers, too
    # The next power of two, so that few sizes are compiled.
    entries = _normal_entries(key, max(ROOM, 2 ** (size - 1).bit_length()))
    xp = array_namespace(entries)
    return jax.device_put(scale * xp.asarray(entries)[:size].reshape(shape))


def normal_arrays(
    key: PRNGKeyArray, shapes: tuple[tuple[int, ...], ...], scale: float = 1.0
) -> tuple[Float[Array, "..."], ...]:
    """Draws arrays with independent entries from N(0, scale²), each from a random key of its own.

    Args:
        key: random key, which is split.
        shapes: shapes of the arrays.
        scale: standard deviation; by default 1.

    Returns:
        The arrays.
    """
    keys = split_key(key, len(shapes))
    return tuple(normal_array(k, shape, scale) for k, shape in zip(keys, shapes, strict=True))


@functools.partial(quickly_compiled, static_argnums=1)
def split_key(key: PRNGKeyArray, count: int) -> tuple[PRNGKeyArray, ...]:
    """Splits a random key into `count` independent ones."""
    return tuple(jax.random.split(key, count))


@functools.partial(quickly_compiled, static_argnums=1)
def _normal_entries(key: PRNGKeyArray, count: int) -> Float[Array, " count"]:
    return jax.random.normal(key, (count,))


def low_rank_plus_noise(model: Any, *, rank: int, size: float, layer: int = 0, scale: float, key: PRNGKeyArray) -> Any:
    r"""Replaces the units of a layer by a random low-rank configuration plus a small perturbation.

    $\Theta = A B + \varepsilon G$ with $A \in R^{H \times r}$, $B \in R^{r \times (N_u + N_v)}$ and Gaussian entries.

    Args:
        model: a network that declares its units.
        rank: r, from 0 to the smaller dimension of Θ.
        size: root mean square of the entries of $A B$, at least 0.
        layer: the layer, counted from 0; by default the first.
        scale: standard deviation $\varepsilon \ge 0$ of the perturbation.
        key: random key.

    Returns:
        The model with these units; other parameters are unchanged.

    Raises:
        ValueError: for a rank outside its range, or a negative size or scale.

    Source: Zhang, Saxe & Latham (2025), Figure 2C.
    """
    shape = unit_vectors(model, layer).shape
    if not 0 <= rank <= min(shape):
        raise ValueError(f"rank must lie between 0 and {min(shape)}; got {rank}.")
    if size < 0 or scale < 0:
        raise ValueError(f"size and scale must not be negative; got size={size}, scale={scale}.")
    shapes = (shape[0], rank), (rank, shape[1]), shape
    arrays = normal_arrays(key, shapes)
    xp = array_namespace(*arrays)
    left, right, noise = (xp.asarray(array) for array in arrays)
    product = left @ right
    norm = xp.sqrt(xp.mean(product**2)) if rank else 1.0
    theta = size * product / norm + scale * noise
    split = incoming(model, layer).shape[1]
    return with_units(model, theta[:, :split], theta[:, split:], layer)
