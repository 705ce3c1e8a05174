"""Krylov spaces of a symmetric matrix, from its products with vectors alone."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Product = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]

# A further vector of this length, beside the largest coefficient met, is rounding: the space is invariant.
BREAKDOWN = 1e-14


class KrylovSpace(NamedTuple):
    r"""An orthonormal basis V of the span of $b, Hb, H^2 b, \dots$, with $H V = V_+ T$ for one vector more.

    Attributes:
        basis: the vectors of V, as rows.
        tridiagonal: T, symmetric but for its last row.
        size: ‖b‖.
    """

    basis: Float[np.ndarray, "k n"]
    tridiagonal: Float[np.ndarray, "k_and_one k"]
    size: float

    def damped_steps(self, dampings: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m n"]:
        r"""The steps s in the space that minimise $\|H s + b\|^2 + \mu^2 \|s\|^2$, one row for each μ."""
        left, values, right = np.linalg.svd(self.tridiagonal, full_matrices=False)
        shares = values / (values**2 + dampings[:, None] ** 2)
        return -self.size * (shares * left[0]) @ right @ self.basis


def krylov_space(product: Product, start: Float[np.ndarray, " n"], depth: int, *, residual: float = 0.0) -> KrylovSpace:
    r"""The Krylov space of a vector by Lanczos's method, every vector orthogonalised against all others.

    Args:
        product: v ↦ H v.
        start: b, not zero.
        depth: the largest dimension, and number of products; as many vectors are kept.
        residual: the share of ‖b‖ to which $\|H s + b\|$ is to be reduced by some s of the space, which then ends.

    Returns:
        The space; of a lower dimension where it is invariant, where that share is reached, or before a product that is
        not finite.

    Source: Parlett (1998), "The symmetric eigenvalue problem", Sections 6.9 and 13.
    """
    size, depth = float(np.linalg.norm(start)), min(depth, start.size)
    basis, matrix = np.zeros((depth + 1, start.size)), np.zeros((depth + 1, depth))
    basis[0] = start / size
    # A vector w with w T = 0, from its first component 1 on: the least residual is ‖b‖ / ‖w‖.
    null = np.zeros(depth + 1)
    null[0] = 1.0
    for k in range(depth):
        image = product(basis[k])
        if not np.all(np.isfinite(image)):
            return KrylovSpace(basis[:k], matrix[: k + 1, :k], size)
        known = basis[: k + 1]
        overlaps = known @ image
        image = image - overlaps @ known
        image -= (known @ image) @ known  # what cancellation left
        beside = float(np.linalg.norm(image))
        matrix[k, k], matrix[k + 1, k] = overlaps[k], beside
        if k + 1 < depth:
            matrix[k, k + 1] = beside
        if beside <= BREAKDOWN * np.max(np.abs(matrix)):
            matrix[k + 1, k] = 0.0
            return KrylovSpace(basis[: k + 1], matrix[: k + 2, : k + 1], size)
        basis[k + 1] = image / beside
        null[k + 1] = -(matrix[: k + 1, k] @ null[: k + 1]) / beside
        if np.linalg.norm(null) * residual >= 1.0:
            return KrylovSpace(basis[: k + 1], matrix[: k + 2, : k + 1], size)
    return KrylovSpace(basis[:depth], matrix, size)
