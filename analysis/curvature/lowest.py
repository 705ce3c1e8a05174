"""The negative eigenvalues of a Hessian of any size, from its products: how many, and how surely no more."""

from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from ..threads import one_thread
from .krylov import Product, krylov_space

# Dimension of the first Krylov spaces. It is doubled where negative Ritz values have not converged, up to what takes
# 100 MB, which is 190 for 66 000 parameters, and to where orthogonalisation takes longer than most products.
DEPTH, NUMBERS, DEEPEST = 200, 12_500_000, 1500
# Products in all; a Krylov space finds some copies of each distinct eigenvalue, of which a network of H units has H.
PRODUCTS = 20_000
# A Ritz value above minus this share of the spectral radius can be rounding.
ROUNDING = 1e-12
# An eigenpair counts as found once its residual is this share of the spectral radius.
FOUND = 1e-8
# The probability with which a further eigenvalue below `none_below` could have been missed.
MISSED = 1e-6


class NegativeEigenvalues(eqx.Module):
    r"""The negative eigenvalues of a symmetric matrix H, as far as products with vectors tell.

    As many as were found exist (Cauchy's interlacing theorem). That there are no more is known with a probability: from
    a random vector, Lanczos's method misses the lowest eigenvalue of n by a share ε of the spectrum's width after k
    products with a probability below $1.648 \sqrt n\, e^{-\sqrt\epsilon (2k - 1)}$.

    Attributes:
        values: Ritz values below zero, ascending, each at least as large as the eigenvalue of its rank.
        vectors: their vectors, orthonormal columns.
        residuals: $\|Hq - \lambda q\|$ of each.
        none_below: with a probability of one in a million at most there is a further eigenvalue below it.
        radius: the largest |λ| met.
        zero_threshold: |λ| up to this counts as zero.
        rest: with the same probability no eigenvalue but those found is larger in size.
        complete: whether the last search, from a random vector, met no further negative eigenvalue.
        products: the number of products that were taken.

    Source: Kuczyński & Woźniakowski (1992), "Estimating the largest eigenvalue by the power and Lanczos algorithms with
    a random start", Theorem 4.1.
    """

    values: Float[np.ndarray, " k"]
    vectors: Float[np.ndarray, "n k"]
    residuals: Float[np.ndarray, " k"]
    none_below: float
    rest: float
    radius: float
    zero_threshold: float
    complete: bool
    products: int

    @property
    def index(self) -> int:
        """The number of negative eigenvalues that were found."""
        return int(np.sum(self.values < -self.zero_threshold))

    @property
    def summary(self) -> str:
        """What is certain, and what is not."""
        count = f"{self.index} negative eigenvalues" if self.complete else f"at least {self.index} negative eigenvalues"
        lowest = f", the lowest {self.values[0]:.6g}" if self.index else ""
        further = f"a further one would lie above {self.none_below:.2g}, but for one chance in a million"
        return f"{count}{lowest}; {further if self.complete else 'the search for more was not finished'}"

    def __str__(self) -> str:
        return (
            f"negative eigenvalues from {self.products} products: {self.summary}\n"
            f"  spectral radius {self.radius:.6g}; |λ| ≤ {self.zero_threshold:.2g} counts as zero"
        )


class _Found(NamedTuple):
    """Ritz values, vectors as rows, and residuals."""

    values: Float[np.ndarray, " k"]
    vectors: Float[np.ndarray, "k n"]
    residuals: Float[np.ndarray, " k"]

    def chosen(self, which: Bool[np.ndarray, " k"]) -> "_Found":
        """Some of them."""
        return _Found(self.values[which], self.vectors[which], self.residuals[which])

    def with_others(self, others: "_Found") -> "_Found":
        """These and others, with vectors that are orthonormal to the last place."""
        new = others.vectors
        # Twice is enough. To decompose all together would take as long as all searches for hundreds of eigenvalues.
        for _ in range(2):
            new = new - (new @ self.vectors.T) @ self.vectors
        vectors = np.concatenate([self.vectors, np.linalg.qr(new.T)[0].T])
        return _Found(np.append(self.values, others.values), vectors, np.append(self.residuals, others.residuals))

    def off(self, vector: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The component of a vector that is orthogonal to all."""
        return vector - (self.vectors @ vector) @ self.vectors if len(self.values) else vector


def negative_eigenvalues(
    product: Product, size: int, *, zero_threshold: float = 0.0, products: int = PRODUCTS, seed: int = 0
) -> NegativeEigenvalues:
    """The negative eigenvalues by Lanczos's method from random vectors, those found being deflated.

    Args:
        product: v ↦ H v.
        size: n.
        zero_threshold: |λ| up to this counts as zero.
        products: the number after which to end.
        seed: of the random vectors.

    Returns:
        The eigenvalues, with what is known about any others.
    """
    # Each operation is on a few vectors: threads of BLAS would take three times the processor's time for the same.
    with one_thread():
        return _search(product, size, zero_threshold, products, np.random.default_rng(seed))


def _search(
    product: Product, size: int, zero: float, products: int, random: np.random.Generator
) -> NegativeEigenvalues:
    """Krylov spaces orthogonal to what has converged, until one from a random vector has no negative Ritz value."""
    found = _Found(np.zeros(0), np.zeros((0, size)), np.zeros(0))
    pending, start, radius, left, complete, ritz = found, None, 0.0, products, False, found
    depth, deepest = DEPTH, min(max(NUMBERS // size, 2), DEEPEST)
    while left > 0 and len(found.values) < size and not complete:
        vector = random.standard_normal(size) if start is None else start
        ritz = _ritz(product, found, vector, min(depth, deepest, left, size - len(found.values)))
        left -= len(ritz.values)
        radius = max(radius, float(np.max(np.abs(ritz.values))))
        negative = _negative(product, found, ritz, max(zero, ROUNDING * radius), FOUND * radius)
        converged = negative & (ritz.residuals <= FOUND * radius)
        complete = start is None and not np.any(negative)
        # Where none has converged, the next space begins with what is nearest to the eigenvectors.
        start = np.sum(ritz.vectors[negative], axis=0) if np.any(negative) and not np.any(converged) else None
        depth = min(2 * depth, deepest) if np.any(negative & ~converged) else depth
        pending, found = ritz.chosen(negative & ~converged), found.with_others(ritz.chosen(converged))
    complete = complete or len(found.values) == size
    # An invariant space of a random vector holds a part of every eigenspace.
    every = bool(np.all(ritz.residuals == 0)) or len(found.values) + len(ritz.values) >= size
    share = 0.0 if every else _missed(len(ritz.values), size)
    found = found if complete else found.with_others(pending)
    order = np.argsort(found.values)
    return NegativeEigenvalues(
        values=found.values[order],
        vectors=found.vectors[order].T,
        residuals=found.residuals[order],
        none_below=_none_below(ritz.values, share, radius) if complete else -np.inf,
        rest=_rest(ritz.values, share) if complete else np.inf,
        radius=radius,
        zero_threshold=zero,
        complete=complete,
        products=products - left,
    )


def _ritz(product: Product, found: _Found, vector: Float[np.ndarray, " n"], depth: int) -> _Found:
    """The Ritz pairs of the Krylov space of a vector, orthogonal to what was found."""
    # Twice is enough: the second time removes what cancellation left.
    space = krylov_space(lambda v: found.off(product(v)), found.off(found.off(vector)), depth)
    used = len(space.basis)
    values, coefficients = np.linalg.eigh(space.tridiagonal[:used])
    residuals = np.abs(space.tridiagonal[used, used - 1] * coefficients[-1])
    return _Found(values, coefficients.T @ space.basis, residuals)


def _negative(product: Product, found: _Found, ritz: _Found, zero: float, small: float) -> Bool[np.ndarray, " k"]:
    """Which Ritz values are negative; small ones are, if the curvature along what is new of their vectors is."""
    negative = ritz.values < -zero
    # The last vectors of a space that is as good as invariant are made of rounding, also along what was found.
    for k in np.flatnonzero(negative & (ritz.values > -small)):
        vector = found.off(found.off(ritz.vectors[k]))
        negative[k] = vector @ product(vector) < -zero * (vector @ vector)
    return negative


def _none_below(values: Float[np.ndarray, " k"], share: float, radius: float) -> float:
    """What no further eigenvalue is below, by the Ritz values of the last space and the share by which it may miss."""
    lowest = float(np.min(values, initial=0.0))
    return (lowest - share * radius) / (1 - share) if share < 1 else -np.inf


def _rest(values: Float[np.ndarray, " k"], share: float) -> float:
    """What no further eigenvalue exceeds in size: either end of the spectrum is missed by a share of its width."""
    largest = float(np.max(np.abs(values), initial=0.0))
    if share == 0.0:
        return largest
    return largest + share * float(np.ptp(values)) / (1 - 2 * share) if share < 1 / 2 else np.inf


def _missed(products: int, size: int) -> float:
    """The share of the spectrum's width by which the lowest eigenvalue is missed, but for one chance in a million."""
    return float((np.log(1.648 * np.sqrt(size) / MISSED) / (2 * products - 1)) ** 2)
