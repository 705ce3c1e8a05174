"""The zero eigenvalues of a Hessian of any size: how many there are at least, at most, and as good as surely."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from .krylov import Product, krylov_space
from .lowest import NegativeEigenvalues, negative_eigenvalues

# Dimension of the Krylov space of a random vector that tells about how many eigenvalues are not zero.
DEPTH = 100
# So many that are positive are sought one by one, with at most so many products.
COUNTED, PRODUCTS = 600, 3000


class Nullity(eqx.Module):
    """What is known of the number of zero eigenvalues of a symmetric matrix.

    Attributes:
        by_symmetry: the dimension of the orbit of symmetries: so many there are at least, at a critical point.
        at_most: its size less the eigenvalues that were found on either side of zero.
        estimate: the share of a random vector that lies in the null space, times the size; `None` if none was drawn.
        counted: the number, but for one chance in a million, where all others were found; else `None`.
    """

    by_symmetry: int
    at_most: int
    estimate: float | None
    counted: int | None

    @property
    def summary(self) -> str:
        """What is certain, estimated, and not known."""
        if self.counted is not None:
            unexplained = self.counted - self.by_symmetry
            return (
                f"nullity {self.counted}, but for one chance in a million: {self.by_symmetry} by symmetry, "
                f"{unexplained} unexplained"
            )
        about = "" if self.estimate is None else f", about {self.estimate:.3g} by the share of a random vector"
        unexplained = self.at_most - self.by_symmetry
        return f"nullity at least {self.by_symmetry}, by symmetry{about}; unexplained: at most {unexplained}"

    def __str__(self) -> str:
        return self.summary


def nullity(
    product: Product, size: int, negative: NegativeEigenvalues, *, by_symmetry: int = 0, seed: int = 1
) -> Nullity:
    r"""Counts the zero eigenvalues from products, given the negative ones.

    Lanczos's method on a random vector makes a quadrature of its spectral density, and the weight of the nodes at zero
    is the share of the null space (Golub & Meurant 2010; Ubaru, Chen & Saad 2017). Where few eigenvalues are left the
    positive ones are found one by one, as the negative ones were; that all others are zero is then known with the
    probability of `NegativeEigenvalues.rest`.

    Args:
        product: v ↦ H v.
        size: n.
        negative: the negative eigenvalues of H.
        by_symmetry: the number of null directions along orbits of symmetries.
        seed: of the random vector.

    Returns:
        The bounds, and the number where it is as good as sure.
    """
    zero, found = negative.zero_threshold, negative.index
    vector = np.random.default_rng(seed).standard_normal(size)
    space = krylov_space(product, vector, DEPTH)
    used = len(space.basis)
    values, coefficients = np.linalg.eigh(space.tridiagonal[:used])
    # What a space resolves of the spectrum: an eigenvalue of the size of the residual may be zero.
    estimate = size * float(np.sum(coefficients[0] ** 2, where=np.abs(values) <= max(zero, RESOLVED * negative.radius)))
    counted = None
    if negative.complete and size - estimate <= 2 * COUNTED:
        positive = _positive(product, negative, size)
        found += positive.index
        counted = size - found if positive.complete and positive.rest <= zero else None
    return Nullity(by_symmetry=by_symmetry, at_most=size - found, estimate=estimate, counted=counted)


# Ritz values below this share of the spectral radius count for the estimate as zero.
RESOLVED = 1e-6


def _positive(product: Product, negative: NegativeEigenvalues, size: int) -> NegativeEigenvalues:
    """The positive eigenvalues, as the negative ones of −H, those of H that were found being deflated."""

    def deflated(v: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        off = v - negative.vectors @ (negative.vectors.T @ v)
        image = -product(off)
        return image - negative.vectors @ (negative.vectors.T @ image)

    return negative_eigenvalues(deflated, size, zero_threshold=negative.zero_threshold, products=PRODUCTS, seed=1)
