r"""The functions $\varphi_k$ of exponential integrators, of numbers and of matrices times vectors.

$\varphi_0(z) = e^z$ and $\varphi_k(z) = \int_0^1 e^{(1-s)z} s^{k-1}/(k-1)!\,ds$, so that
$\varphi_k(0) = 1/k!$ and $z\varphi_k(z) = \varphi_{k-1}(z) - 1/(k-1)!$ (Hochbruck & Ostermann 2010, section 2).

Our own: neither JAX nor SciPy has these functions, and the derivative of $\varphi_k(A)b$ must exist where eigenvalues
of A coincide, as those of networks' Hessians do.
"""

from functools import partial
from math import factorial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Below this |z| the recurrence towards larger k would cancel: at 1.5 it costs φ_5 a factor of 20 in rounding.
SERIES_RADIUS = 1.5
# 1.5^22 / 22! is 7e-18: below the rounding of every dtype.
SERIES_TERMS = 22
# Divided differences over a smaller gap are derivatives at the middle: rounding of a quotient, ε/gap, and the error of
# the middle, gap²/24, are then both 1e-11.
CLOSE = 1e-5


def phi(z: Float[Array, "..."], highest: int) -> Float[Array, "k ..."]:
    r"""$\varphi_0(z), \ldots, \varphi_K(z)$ for real z, K = `highest`, to a few roundoffs."""
    near = jnp.abs(z) < SERIES_RADIUS
    small, large = jnp.where(near, z, 0.0), jnp.where(near, 1.0, z)
    top = jnp.zeros_like(z)
    for j in range(SERIES_TERMS - 1, -1, -1):
        top = top * small + 1 / factorial(highest + j)
    by_series, by_recurrence = [top], [jnp.exp(large)]
    for k in range(highest, 0, -1):
        by_series.append(small * by_series[-1] + 1 / factorial(k - 1))
    for k in range(1, highest + 1):
        by_recurrence.append((by_recurrence[-1] - 1 / factorial(k - 1)) / large)
    return jnp.where(near, jnp.stack(by_series[::-1]), jnp.stack(by_recurrence))


def phi_derivative(z: Float[Array, "..."], highest: int) -> Float[Array, "k ..."]:
    r"""$\varphi_k'(z) = \varphi_k(z) - k\varphi_{k+1}(z)$ for k = 0, …, K = `highest`."""
    values = phi(z, highest + 1)
    k = jnp.arange(highest + 1, dtype=z.dtype).reshape(-1, *(1,) * z.ndim)
    return values[:-1] - k * values[1:]


def divided_differences(z: Float[Array, " n"], highest: int) -> Float[Array, "k n n"]:
    r"""$\varphi_k[z_i, z_j] = (\varphi_k(z_i) - \varphi_k(z_j)) / (z_i - z_j)$, or the derivative where close."""
    gap = z[:, None] - z[None, :]
    close = jnp.abs(gap) < CLOSE
    values = phi(z, highest)
    quotient = (values[:, :, None] - values[:, None, :]) / jnp.where(close, 1.0, gap)
    return jnp.where(close, phi_derivative((z[:, None] + z[None, :]) / 2, highest), quotient)


def phi_products(
    matrix: Float[Array, "n n"],
    eigen: tuple[Float[Array, " n"], Float[Array, "n n"]],
    scale: Float[Array, ""],
    b: Float[Array, " n"],
    highest: int,
) -> Float[Array, "k n"]:
    r"""$\varphi_k(sA) b$ for symmetric A and k = 0, …, K = `highest`.

    Differentiable (once) in A, s and b, also where eigenvalues coincide and their vectors have no derivative:
    $D\varphi(A)[E] = Q (\varphi[\lambda_i, \lambda_j] \circ Q^\top E Q) Q^\top$.

    Args:
        matrix: A; its value is not used, derivatives in A go through it.
        eigen: the eigenvalues λ and eigenvectors Q of A.
        scale: s.
        b: the vector.
        highest: the highest number K.

    Returns:
        One row for each k.

    Source: Daleckii & Krein (1965), for the derivative.
    """
    return _phi_products(highest, matrix, jax.lax.stop_gradient(eigen), scale, b)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _phi_products(highest: int, matrix: Array, eigen: tuple[Array, Array], scale: Array, b: Array) -> Array:
    del matrix  # its value is in `eigen`; its derivative is in the rule below
    values, vectors = eigen
    return phi(scale * values, highest) * (vectors.T @ b) @ vectors.T


@_phi_products.defjvp
def _phi_products_jvp(highest: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
    matrix, eigen, scale, b = primals
    matrix_tangent, _, scale_tangent, b_tangent = tangents
    values, vectors = eigen
    c = vectors.T @ b
    differences = scale * divided_differences(scale * values, highest)
    from_matrix = (differences * (vectors.T @ matrix_tangent @ vectors)) @ c
    from_scale = scale_tangent * phi_derivative(scale * values, highest) * values * c
    from_b = _phi_products(highest, matrix, eigen, scale, b_tangent)
    return _phi_products(highest, matrix, eigen, scale, b), (from_matrix + from_scale) @ vectors.T + from_b
