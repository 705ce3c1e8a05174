"""The lowest order at which the loss changes along the null space of a Hessian, and the steepest way down."""

from dataclasses import dataclass

import equinox as eqx
import numpy as np
import scipy
from jaxtyping import Float

from ...flows import Landscape
from ...flows.landscapes.taylor import ORDER, gradient_series
from ..curvature.scales import Scales
from ..curvature.spectrum import Spectrum

# Random directions that tell a form that vanishes from one that does not, and starts of the search for its least value.
PROBES, STARTS = 8, 24
# The highest order of a form that the gradient's expansion gives.
HIGHEST = ORDER + 1
# A form below this share of its natural size L/‖θ‖ᵖ is zero: derivatives by differentiation are exact to rounding.
ZERO_FORM = 1e-9
# A position known to δ, with a true quartic, shows eigenvalues 12 F₄ δ² and a third-order form 4 F₄ δ; four times that
# is still no cubic.
OFF_CENTRE = 4.0


class NullSpaceForm(eqx.Module):
    r"""$L = L^* + s^p F_p(d) + \dots$ along a null direction d, the other coordinates relaxed.

    $F_p$ is the first form that does not vanish on the null space; relaxing means that $\nabla L$ has no component
    outside it, so that the coupling between the two enters $F_4$ and higher forms.

    - `order`: p, or `None` where no form up to the examined order differs from zero.
    - `lowest`, `highest`: the extreme values of $F_p$ on the unit sphere of the null space that were found.
    - `direction`: the unit vector with the lowest, the direction of steepest escape where that is negative.
    - `examined`: the highest order that was looked at; `dimension`: of the null space.

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
        """Whether the loss rises at the lowest order along every null direction that the search saw."""
        return self.order is not None and self.lowest > self._small

    @property
    def _small(self) -> float:
        # The search ends within 1e-6 of a zero of a semidefinite form, where its value is the square of that.
        return 1e-6 * max(abs(self.lowest), abs(self.highest))

    def __str__(self) -> str:
        if self.order is None:
            return f"the loss does not change up to order {self.examined}"
        values = f"F_{self.order} from {self.lowest:.4g} to {self.highest:.4g} on the unit sphere of {self.dimension}"
        return f"the loss changes at order {self.order}, {values} dimension{'s' if self.dimension > 1 else ''}"

    @property
    def rate(self) -> float | None:
        r"""$c = -p F_p$ of $\dot r = c\,r^{p-1}$ on the steepest direction; `None` where the loss does not fall."""
        return -self.order * self.lowest if self.order is not None and self.falls else None


@dataclass(frozen=True)
class _Reduction:
    """The loss along curves through a critical point that are relaxed off the null space, order by order."""

    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    spectral: Spectrum

    def _response(self, gradient: np.ndarray) -> np.ndarray:
        """$-H^+ g$: how far the other coordinates give way."""
        values, vectors = self.spectral.eigenvalues, self.spectral.eigenvectors
        kept = np.abs(values) > self.spectral.zero_threshold
        return -vectors[:, kept] @ ((vectors[:, kept].T @ gradient) / values[kept])

    def gradient_coefficient(self, d: Float[np.ndarray, " n"], order: int) -> Float[np.ndarray, " n"]:
        r"""The coefficient $g_{p-1}$ of the gradient along $\theta + s d + s^2 a_2 + \dots$, each $a_k$ relaxed.

        With all $a_k$ up to k = p - 2 the gradient is orthogonal to each up to the order at which it would count.
        """
        curve = np.zeros((max(order - 2, 1), d.size))
        curve[0] = d
        for k in range(2, order - 1):
            curve[k - 1] = self._response(gradient_series(self.landscape, self.theta, curve[: k - 1])[k])
        return gradient_series(self.landscape, self.theta, curve)[order - 1]

    def form(self, d: Float[np.ndarray, " n"], order: int) -> tuple[float, Float[np.ndarray, " n"]]:
        r"""$F_p(d) = g_{p-1} \cdot d / p$ and its gradient in d, which is $g_{p-1}$ on the null space."""
        slope = self.gradient_coefficient(d, order)
        return float(slope @ d) / order, slope


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

    **Arguments:** `landscape`, `theta`: the critical point; `spectral`: its spectrum; `basis`: of the part of the null
    space to look at, as orthonormal columns (by default all of it; along orbits of symmetries the loss does not change,
    so that they can be left out); `scales`: sizes that count as large; `max_order`: the last order tried, up to six;
    `search`: look for the extreme values, beyond those met in telling the order.

    The extremes are the best of 24 local searches, not certified.
    """
    if not 3 <= max_order <= HIGHEST:
        raise ValueError(f"forms are examined from order 3 up to {HIGHEST}; got max_order={max_order}.")
    scales = Scales() if scales is None else scales
    basis = spectral.null_space if basis is None else basis
    if basis.shape[1] == 0:
        return NullSpaceForm(None, 0.0, 0.0, None, max_order, 0)
    reduction = _Reduction(landscape, theta, spectral)
    starts = np.random.default_rng(0).standard_normal((STARTS, basis.shape[1]))
    natural = scales.loss / scales.weight ** np.arange(max_order + 2)

    def at(c: np.ndarray, order: int) -> float:
        return reduction.form(basis @ (c / np.linalg.norm(c)), order)[0]

    def size(order: int) -> float:
        return max(abs(at(c, order)) for c in starts[:PROBES])

    for order in range(3, max_order + 1):
        found = size(order)
        if order == 3 and found > ZERO_FORM * natural[3] and spectral.largest_zero > 0:
            # Beside a quartic critical point, as well as it can be located, the third form is not quite zero.
            off_centre = OFF_CENTRE * np.sqrt(size(4) * spectral.largest_zero)
            found = found if found > off_centre else 0.0
        if found > ZERO_FORM * natural[order]:
            lowest, highest, best = _met([(at(sign * c, order), sign * c) for c in starts[:PROBES] for sign in (1, -1)])
            if search and basis.shape[1] > 1:
                lowest, highest, best = _extremes(reduction, basis, starts, found, order)
            return NullSpaceForm(order, lowest, highest, basis @ best, max_order, basis.shape[1])
    return NullSpaceForm(None, 0.0, 0.0, None, max_order, basis.shape[1])


def _met(values: list[tuple[float, np.ndarray]]) -> tuple[float, float, np.ndarray]:
    """The lowest and highest of some values, and where the lowest is; all there is on a sphere of two points."""
    lowest, where = min(values, key=lambda pair: pair[0])
    return lowest, max(value for value, _ in values), where / np.linalg.norm(where)


def _extremes(
    reduction: _Reduction, basis: np.ndarray, starts: np.ndarray, scale: float, order: int
) -> tuple[float, float, np.ndarray]:
    """The lowest and highest value on the sphere, and where the lowest is, by local searches."""

    def objective(c: np.ndarray, sign: float) -> tuple[float, np.ndarray]:
        """F_p and its gradient as a function of coefficients in the null space, made homogeneous of degree zero."""
        norm = np.linalg.norm(c)
        value, slope = reduction.form(basis @ (c / norm), order)
        return sign * value / scale, sign * (basis.T @ slope - order * value * c / norm) / (norm * scale)

    def search(sign: float) -> tuple[float, np.ndarray]:
        options = {"gtol": 1e-10}
        found = [
            scipy.optimize.minimize(objective, c, args=(sign,), jac=True, method="BFGS", options=options)
            for c in starts
        ]
        best = min(found, key=lambda result: result.fun)
        return sign * scale * float(best.fun), best.x / np.linalg.norm(best.x)

    lowest, where = search(1.0)
    return lowest, -lowest if order % 2 else search(-1.0)[0], where
