"""Initial weights: independent normal entries, or near a manifold of small effective width."""

import functools
import math
from typing import Any

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from .quick import quickly_compiled
from .units import array_namespace, incoming, unit_vectors, with_units

# Entries drawn for an array at least: one compiled function serves all that are smaller, in a fifth of a millisecond.
ROOM = 2**14


def normal_array(key: PRNGKeyArray, shape: tuple[int, ...], scale: float = 1.0) -> Float[Array, "..."]:
    """An array with entries from N(0, scale²)."""
    size = math.prod(shape)
    # As many as the next power of two, so that few sizes are compiled for.
    entries = _normal_entries(key, max(ROOM, 2 ** (size - 1).bit_length()))
    xp = array_namespace(entries)
    return jax.device_put(scale * xp.asarray(entries)[:size].reshape(shape))


def normal_arrays(
    key: PRNGKeyArray, shapes: tuple[tuple[int, ...], ...], scale: float = 1.0
) -> tuple[Float[Array, "..."], ...]:
    """Arrays with entries from N(0, scale²), each from a random key of its own."""
    keys = split_key(key, len(shapes))
    return tuple(normal_array(k, shape, scale) for k, shape in zip(keys, shapes, strict=True))


@functools.partial(quickly_compiled, static_argnums=1)
def split_key(key: PRNGKeyArray, count: int) -> tuple[PRNGKeyArray, ...]:
    """Independent random keys."""
    return tuple(jax.random.split(key, count))


@functools.partial(quickly_compiled, static_argnums=1)
def _normal_entries(key: PRNGKeyArray, count: int) -> Float[Array, " count"]:
    return jax.random.normal(key, (count,))


def low_rank_plus_noise(model: Any, *, rank: int, size: float, layer: int = 0, scale: float, key: PRNGKeyArray) -> Any:
    r"""Replaces the units by a random low-rank configuration plus a small perturbation.

    $\Theta = A B + \varepsilon G$ with $A \in R^{H \times r}$, $B \in R^{r \times (N_u + N_v)}$, $G$ Gaussian and the
    low-rank part of root mean square `size`.

    **Arguments:** `rank`: r, from 0 to the smaller side of Θ; `size`: root mean square of the entries of $AB$;
    `scale`: standard deviation ε of the perturbation; `layer`: whose units; `key`: random key.

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
