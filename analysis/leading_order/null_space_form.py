"""The lowest order at which the loss changes along the null space of a Hessian, and its steepest descent."""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ...flows.landscapes.taylor import ORDER, gradient_series
from ..curvature.scales import Scales
from ..curvature.spectrum import Spectrum
from .sphere import STARTS, minimum_on_sphere, normal_vectors

# Random directions that distinguish a form that vanishes from one that does not.
PROBES = 8
# The highest order of a form that the gradient's expansion gives.
HIGHEST = ORDER + 1
# A form below this share of its natural size L/‖θ‖ᵖ is zero: derivatives by differentiation are exact to rounding.
VANISHING_SHARE = 1e-9
# A position known to δ, with a true quartic, shows eigenvalues 12 F₄ δ² and a third-order form 4 F₄ δ; four times that
# is still no cubic.
OFF_CENTRE = 4.0
# The search ends within 1e-6 of a zero of a semidefinite form; relative to its largest value this is still zero.
SEMIDEFINITE_SHARE = 1e-6


class NullSpaceForm(eqx.Module):
    r"""$L = L^* + s^p F_p(d) + \dots$ along a null direction d, the other coordinates relaxed.

    $F_p$ is the first form that does not vanish on the null space; relaxing means that $\nabla L$ has no component
    outside it, so that the coupling between the two enters $F_4$ and higher forms.

    Attributes:
        order: p; `None` where no form up to the examined order differs from zero.
        lowest: the lowest value of $F_p$ found on the unit sphere of the null space.
        highest: the highest value found there.
        direction: the unit vector with the lowest value, the direction of steepest escape where that is negative.
        examined: the highest order that was examined.
        dimension: of the null space.

    Source: the reduction of Lyapunov and Schmidt; the escape from degenerate saddles is that of Jacot et al. (2021).
    """

    order: int | None
    lowest: float
    highest: float
    direction: Float[np.ndarray, " n"] | None
    examined: int
    dimension: int

    @property
    def falls(self) -> bool:
        """Whether the loss falls along some null direction at the lowest order."""
        return self.order is not None and self.lowest < -self._small

    @property
    def rises(self) -> bool:
        """Whether the loss rises at the lowest order along every null direction that the search examined."""
        return self.order is not None and self.lowest > self._small

    @property
    def _small(self) -> float:
        return SEMIDEFINITE_SHARE * max(abs(self.lowest), abs(self.highest))

    @property
    def rate(self) -> float | None:
        r"""$c = -p F_p$ of $\dot r = c\,r^{p-1}$ on the steepest direction; `None` where the loss does not fall."""
        return -self.order * self.lowest if self.order is not None and self.falls else None

    def __str__(self) -> str:
        if self.order is None:
            return f"the loss does not change up to order {self.examined}"
        values = f"F_{self.order} from {self.lowest:.4g} to {self.highest:.4g} on the unit sphere of {self.dimension}"
        return f"the loss changes at order {self.order}, {values} dimension{'s' if self.dimension > 1 else ''}"


@dataclass(frozen=True)
class _Reduction:
    """The loss along curves through a critical point that are relaxed off the null space, order by order.

    `inverse` is the Hessian's pseudo-inverse; the columns of `basis` span the part of the null space examined.
    """

    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    inverse: Callable[[np.ndarray], np.ndarray]
    basis: Float[np.ndarray, "n k"]

    def gradient_coefficient(self, d: Float[np.ndarray, " n"], order: int) -> Float[np.ndarray, " n"]:
        r"""The coefficient $g_{p-1}$ of the gradient along $\theta + s d + s^2 a_2 + \dots$, each $a_k$ relaxed.

        With all $a_k$ up to k = p - 2 the gradient is orthogonal to each up to the order at which it would count.

        Args:
            d: a null direction.
            order: p.

        Returns:
            The coefficient.
        """
        curve = np.zeros((max(order - 2, 1), d.size))
        curve[0] = d
        for k in range(2, order - 1):
            curve[k - 1] = -self.inverse(gradient_series(self.landscape, self.theta, curve[: k - 1])[k])
        return gradient_series(self.landscape, self.theta, curve)[order - 1]

    def form(self, c: Float[np.ndarray, " k"], order: int) -> tuple[float, Float[np.ndarray, " k"]]:
        r"""$F_p(d) = g_{p-1} \cdot d / p$ at coefficients c of d in the basis, and its gradient there, $g_{p-1}$."""
        d = self.basis @ c
        slope = self.gradient_coefficient(d, order)
        return float(slope @ d) / order, self.basis.T @ slope

    def size(self, directions: Float[np.ndarray, "m k"], order: int) -> float:
        """The largest |F_p| met."""
        return max(abs(self.form(c, order)[0]) for c in directions)


def form_along(
    landscape: Landscape, theta: Float[np.ndarray, " n"], direction: Float[np.ndarray, " n"], order: int
) -> float:
    r"""The form of order p along a direction, not relaxed: $\frac{1}{p!} \frac{d^p}{ds^p} L(\theta + s d)$ at s = 0."""
    return float(gradient_series(landscape, theta, direction[None])[order - 1] @ direction) / order


def third_order_form(
    landscape: Landscape, direction: Float[np.ndarray, " n"], theta: Float[np.ndarray, " n"] | None = None
) -> float:
    r"""$F_3(d) = \frac{1}{6} \frac{d^3}{ds^3} L(\theta + s d)$ at s = 0.

    On a direction d with $\nabla L = 0$ and $\nabla^2 L\, d = 0$ a non-zero value proves that the loss falls along d
    or −d, whatever the Hessian says.

    Args:
        landscape: loss and data.
        direction: d.
        theta: θ, by default the landscape's own.

    Returns:
        The value of the form.
    """
    return form_along(landscape, landscape.theta if theta is None else theta, np.asarray(direction), 3)


def null_space_form(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    spectral: Spectrum,
    *,
    basis: Float[np.ndarray, "n k"] | None = None,
    scales: Scales | None = None,
    max_order: int = HIGHEST,
    search: bool = True,
) -> NullSpaceForm:
    """The first form of the loss that does not vanish on the null space, with its extreme values.

    Args:
        landscape: loss and data.
        theta: the critical point.
        spectral: its spectrum.
        basis: orthonormal columns that span the part of the null space to examine, by default all of it; along orbits
            of symmetries the loss does not change, so that these may be left out.
        scales: characteristic scales of the flow, by default 1.
        max_order: the highest order examined, from 3 to 6.
        search: whether to search for the extreme values; else they are those of a few random directions.

    Returns:
        The form. Its extremes are the best of 24 local searches, without a certificate.

    Raises:
        ValueError: for a `max_order` that the gradient's expansion does not give.
    """
    if not 3 <= max_order <= HIGHEST:
        raise ValueError(f"forms are examined from order 3 up to {HIGHEST}; got max_order={max_order}.")
    scales = Scales() if scales is None else scales
    basis = spectral.null_space if basis is None else basis
    dimension, starts = basis.shape[1], normal_vectors(STARTS, basis.shape[1])
    order, lowest, highest, direction = None, 0.0, 0.0, None
    if dimension > 0:
        reduction = _Reduction(landscape=landscape, theta=theta, inverse=spectral.pseudo_inverse(), basis=basis)
        order, size = _first_order(reduction, starts[:PROBES], scales, spectral.largest_zero, max_order)
        if order is not None:
            lowest, highest, best = _extremes_met(reduction, starts[:PROBES], order)
            if search and dimension > 1:
                lowest, highest, best = _extremes(reduction, starts, order, size)
            direction = basis @ best
    return NullSpaceForm(
        order=order, lowest=lowest, highest=highest, direction=direction, examined=max_order, dimension=dimension
    )


def _first_order(
    reduction: _Reduction, probes: np.ndarray, scales: Scales, largest_zero: float, max_order: int
) -> tuple[int | None, float]:
    """The order of the first form that does not vanish, `None` if all do up to the highest, and its size."""
    directions = probes / np.linalg.norm(probes, axis=1, keepdims=True)
    for order in range(3, max_order + 1):
        size, zero = reduction.size(directions, order), VANISHING_SHARE * scales.loss / scales.weight**order
        if order == 3 and size > zero and largest_zero > 0:
            # Beside a quartic critical point, as well as it can be located, the third form is not quite zero.
            zero = max(zero, OFF_CENTRE * np.sqrt(reduction.size(directions, 4) * largest_zero))
        if size > zero:
            return order, size
    return None, 0.0


def _extremes_met(
    reduction: _Reduction, probes: np.ndarray, order: int
) -> tuple[float, float, Float[np.ndarray, " k"]]:
    """The lowest and highest value at some random directions and their opposites, and where the lowest is."""
    directions = [sign * c / np.linalg.norm(c) for c in probes for sign in (1, -1)]
    values = [reduction.form(c, order)[0] for c in directions]
    return min(values), max(values), directions[int(np.argmin(values))]


def _extremes(
    reduction: _Reduction, starts: np.ndarray, order: int, scale: float
) -> tuple[float, float, Float[np.ndarray, " k"]]:
    """The lowest and highest value on the unit sphere, and where the lowest is, by local searches."""

    def search(sign: float) -> tuple[float, np.ndarray]:
        def objective(c: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = reduction.form(c, order)
            return sign * value / scale, sign * slope / scale

        value, best = minimum_on_sphere(objective, starts, gradient_tolerance=1e-10)
        return sign * scale * value, best

    lowest, where = search(1.0)
    # Forms of odd order change sign with the direction.
    return lowest, -lowest if order % 2 else search(-1.0)[0], where
