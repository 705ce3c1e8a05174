"""The loss along curves through a critical point that are relaxed off the null space of the Hessian, order by order."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ...flows.landscapes.taylor import relaxed_series
from ..curvature.spectrum import PseudoInverse, Spectrum
from ..rounding import perturbed

# Directions in which errors of rounding are measured.
MEASURED = 3


@dataclass(frozen=True)
class Reduction:
    r"""The reduction of Lyapunov and Schmidt: the loss on the null space, all other coordinates relaxed.

    Along $\gamma(s) = \theta + s d + s^2 a_2 + \dots$, d a null direction and each $a_k$ such that $\nabla L$ has no
    component outside the null space, $L = L^* + \sum_p s^p F_p(d)$.

    Attributes:
        landscape: the loss.
        theta: the critical point.
        inverse: the pseudo-inverse of its Hessian.
        basis: orthonormal columns that span the part of the null space to examine.
        highest: P, the highest order.
    """

    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    inverse: PseudoInverse
    basis: Float[np.ndarray, "n k"]
    highest: int

    def relaxed(self, d: Float[np.ndarray, " n"], order: int) -> Float[np.ndarray, "P n"]:
        r"""The gradient along the curve $d, a_2, \dots, a_{p-2}$, on which forms up to order p depend."""
        return self._series(d[None], max(order - 2, 1))

    def series(self, curve: Float[np.ndarray, "q n"]) -> Float[np.ndarray, "P n"]:
        """The coefficients of the gradient along a curve."""
        return self._series(curve, 1)

    def _series(self, curve: Float[np.ndarray, "q n"], last: int) -> Float[np.ndarray, "P n"]:
        return relaxed_series(self.landscape, self.theta, curve, self.inverse, last, order=self.highest - 1)[1]

    def forms(self, c: Float[np.ndarray, " k"]) -> Float[np.ndarray, " P"]:
        r"""The forms at coefficients c of d in the basis, $F_p(d) = g_{p-1} \cdot d / p$."""
        d = self.basis @ c
        return self.relaxed(d, self.highest) @ d / np.arange(1, self.highest + 1)

    def form(self, c: Float[np.ndarray, " k"], order: int) -> tuple[float, Float[np.ndarray, " k"]]:
        r"""The form $F_p$ and its gradient in the coefficients, which is $g_{p-1}$."""
        d = self.basis @ c
        slope = self.relaxed(d, order)[order - 1]
        return float(slope @ d) / order, self.basis.T @ slope


def reduction(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    spectral: Spectrum,
    basis: Float[np.ndarray, "n k"],
    highest: int,
) -> Reduction:
    """The reduction at a critical point.

    Args:
        landscape: the loss.
        theta: the critical point.
        spectral: its spectrum.
        basis: orthonormal columns that span the part of the null space to examine.
        highest: the highest order.

    Returns:
        The reduction.
    """
    inverse = jax.device_put(spectral.pseudo_inverse())
    return Reduction(landscape=landscape, theta=theta, inverse=inverse, basis=basis, highest=highest)


def noise_of_forms(
    reduced: Reduction, probes: Float[np.ndarray, "m k"], spectral: Spectrum, *, moved: float
) -> Float[np.ndarray, " P"]:
    """How much the forms change when every number is changed in its last place, the largest change at each order.

    It is at least the last place of the derivatives of that order.

    Args:
        reduced: the reduction.
        probes: directions, in coefficients.
        spectral: the spectrum at the point.
        moved: the distance by which a search moved to the point.

    Returns:
        The changes, without a factor of safety.
    """
    chosen = probes[:MEASURED]
    exact, changes = np.array([reduced.forms(c) for c in chosen]), last_place(reduced)
    for copy in changed_copies(reduced, spectral, moved=moved):
        changed = np.array([copy.forms(c) for c in chosen])
        changes = np.maximum(changes, np.max(np.abs(changed - exact), axis=0))
    return changes


def changed_copies(reduced: Reduction, spectral: Spectrum, *, moved: float) -> Iterator[Reduction]:
    """Reductions of the landscape, at the point and on the null directions with numbers changed in their last place.

    Eigenvectors are known to the rounding of the largest eigenvalue over the smallest that is not zero.

    Args:
        reduced: the reduction.
        spectral: the spectrum at the point.
        moved: the distance by which a search moved to the point.

    Yields:
        The reductions.
    """
    random = np.random.default_rng(2)
    largest = float(np.max(np.abs(spectral.eigenvalues), initial=0.0))
    ratio = max(largest / spectral.smallest_nonzero, 1.0) if np.isfinite(spectral.smallest_nonzero) else 1.0
    for landscape, theta in perturbed(reduced.landscape, reduced.theta, moved=moved):
        tilt = np.finfo(theta.dtype).eps * ratio * random.standard_normal(reduced.basis.shape)
        basis = reduced.basis + tilt / np.sqrt(theta.size)
        yield dataclasses.replace(reduced, landscape=landscape, theta=theta, basis=basis)


def last_place(reduced: Reduction) -> Float[np.ndarray, " P"]:
    """The last place of the loss's derivatives of each order in general directions, of which the forms are a part."""
    directions = np.random.default_rng(3).standard_normal((MEASURED, reduced.theta.size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    values = [np.abs(reduced.series(d[None]) @ d) / np.arange(1, reduced.highest + 1) for d in directions]
    return np.finfo(reduced.theta.dtype).eps * np.max(values, axis=0)


def first_order(
    sizes: Float[np.ndarray, " P"], noise: Float[np.ndarray, " P"], centred: float, *, lowest: int = 3
) -> int | None:
    r"""The lowest order p of a form that is neither rounding nor due to the point's not being the critical one.

    With derivatives $\phi^{(p)} = p!\,F_p$ the criterion is that of Newton and Kantorovich for the zero of
    $\phi^{(p-1)}$: $h = |\phi^{(p-1)} \phi^{(p+1)}| / (\phi^{(p)})^2$ is small.

    Args:
        sizes: of $F_1, \dots, F_P$.
        noise: what of them is rounding.
        centred: up to which h is small.
        lowest: the lowest order that is asked for.

    Returns:
        The order, `None` if there is none.
    """
    # Of the last one the next is not known.
    for p in range(lowest, len(sizes)):
        if not sizes[p - 1] > noise[p - 1]:
            continue
        below, above = sizes[p - 2] + noise[p - 2], sizes[p]
        if (p + 1) / p * below * above <= centred * sizes[p - 1] ** 2:
            return p
    return None
