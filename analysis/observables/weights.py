"""Norms and effective ranks of a model's arrays."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .observable import Observable, Quantity


def named_arrays(model: Any) -> dict[str, Any]:
    """The arrays of a model that make up its parameters, by their path in it."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(model, eqx.is_inexact_array))
    return {jax.tree_util.keystr(path).removeprefix("."): leaf for path, leaf in leaves}


def weight_norms(model: Any) -> Observable:
    r"""The Frobenius norm $\|W\|_F$ of each array of a model's parameters, as an observable.

    Args:
        model: any of the flow's models, for the names of its arrays.

    Returns:
        The observable, with an axis `array`.
    """

    def function(model: Any) -> Float[Array, " arrays"]:
        return jnp.stack([jnp.linalg.norm(jnp.ravel(array)) for array in named_arrays(model).values()])

    quantity = Quantity("Frobenius norm", axes=("array",), labels={"array": tuple(named_arrays(model))})
    return Observable(function, quantities={"": quantity})


def effective_rank(model: Any) -> Observable:
    r"""The effective rank $e^{-\sum_k p_k \ln p_k}$, $p_k = \sigma_k / \sum_j \sigma_j$, of each matrix of a model.

    It lies between 1, for rank one, and the smaller side of the matrix, for equal singular values $\sigma_k$.

    Args:
        model: any of the flow's models, for the names of its arrays.

    Returns:
        The observable, with an axis `matrix`. Arrays with more axes are matrices of their first axis and all others;
        that of zeros has effective rank 0.

    Source: Roy & Vetterli (2007), "The effective rank: a measure of effective dimensionality".
    """

    def entropy_rank(sigma: Float[Array, " r"]) -> Float[Array, ""]:
        total = jnp.sum(sigma)
        p = sigma / jnp.where(total > 0, total, 1)
        entropy = -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0))
        return jnp.where(total > 0, jnp.exp(entropy), 0)

    return _of_singular_values(model, entropy_rank, "effective rank")


def stable_rank(model: Any) -> Observable:
    r"""The stable rank $\|W\|_F^2 / \|W\|_2^2$ of each matrix of a model.

    Args:
        model: any of the flow's models, for the names of its arrays.

    Returns:
        The observable, with an axis `matrix`, as for `effective_rank`.

    Source: Rudelson & Vershynin (2007), "Sampling from large matrices".
    """

    def of(sigma: Float[Array, " r"]) -> Float[Array, ""]:
        # Singular values relative to the largest: their squares would underflow.
        ratios = sigma / jnp.where(sigma[0] > 0, sigma[0], 1)
        return jnp.sum(ratios**2)

    return _of_singular_values(model, of, "stable rank")


def _of_singular_values(model: Any, of: Callable[[Array], Array], long_name: str) -> Observable:
    """A function of the singular values of each matrix, as an observable."""

    def matrices(model: Any) -> dict[str, Any]:
        return {name: array for name, array in named_arrays(model).items() if array.ndim >= 2}

    def function(model: Any) -> Float[Array, " matrices"]:
        shaped = [jnp.reshape(array, (array.shape[0], -1)) for array in matrices(model).values()]
        return jnp.stack([of(jnp.linalg.svd(matrix, compute_uv=False)) for matrix in shaped])

    if not (names := tuple(matrices(model))):
        raise ValueError(f"{type(model).__name__} has no arrays of two axes or more, which alone have a rank.")
    quantity = Quantity(long_name, axes=("matrix",), labels={"matrix": names})
    return Observable(function, quantities={"": quantity})
