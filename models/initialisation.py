"""Initialisations near a manifold of small effective width."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from .units import incoming, unit_vectors, with_units


def low_rank_plus_noise(model: Any, rank: int, size: float, scale: float, *, layer: int = 0, key: PRNGKeyArray) -> Any:
    r"""Replaces the units by a random low-rank configuration plus a small perturbation.

    $\Theta = A B + \varepsilon G$ with $A \in R^{H \times r}$, $B \in R^{r \times (N_u + N_v)}$, $G$ Gaussian and the
    low-rank part of root mean square `size`.

    **Arguments:** `rank`: r, from 0 to the smaller side of Θ; `size`: root mean square of the entries of $AB$;
    `scale`: standard deviation ε of the perturbation; `layer`: whose units; `key`: random key.

    Source: Zhang, Saxe & Latham (2025), Figure 2C.
    """
    theta = unit_vectors(model, layer)
    if not 0 <= rank <= min(theta.shape):
        raise ValueError(f"rank must lie between 0 and {min(theta.shape)}; got {rank}.")
    if size < 0 or scale < 0:
        raise ValueError(f"size and scale must not be negative; got size={size}, scale={scale}.")
    left, right, noise = jax.random.split(key, 3)
    product = jax.random.normal(left, (theta.shape[0], rank)) @ jax.random.normal(right, (rank, theta.shape[1]))
    norm = jnp.sqrt(jnp.mean(product**2)) if rank else 1.0
    theta = size * product / norm + scale * jax.random.normal(noise, theta.shape)
    split = incoming(model, layer).shape[1]
    return with_units(model, theta[:, :split], theta[:, split:], layer)
