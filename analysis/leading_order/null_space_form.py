"""The lowest order at which the loss changes along the null space of a Hessian, and its steepest descent."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ...flows.landscapes.taylor import gradient_series
from ..curvature.spectrum import Spectrum
from ..thresholds import STANDARD, Thresholds
from .reduction import Reduction, first_order, noise_of_forms, reduction
from .sphere import STARTS, Minimum, minima_on_sphere, normal_vectors

# Random directions that distinguish a form that vanishes from one that does not.
PROBES = 8
# Where a criterion this many times as strict would not accept an order, all random directions are looked at: a few tell
# too little of products of many factors.
STRICTER = 10.0
# Directions, the best of the probes and their opposites, from which extreme values are searched.
IMPROVED = 4
# Orders to which forms are examined, one less than are computed: the first program is compiled in a second or two, the
# second, if the first leaves the question open, in several.
ORDERS = (6, 12)


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
        noise: values of $F_p$ up to this are rounding, or due to the point's not being quite the critical one.

    Source: the reduction of Lyapunov and Schmidt; the escape from degenerate saddles is that of Jacot et al. (2021).
    """

    order: int | None
    lowest: float
    highest: float
    direction: Float[np.ndarray, " n"] | None
    examined: int
    dimension: int
    noise: float = 0.0

    @property
    def falls(self) -> bool:
        """Whether the loss falls along some null direction at the lowest order."""
        return self.order is not None and self.lowest < -self.small

    @property
    def rises(self) -> bool:
        """Whether the loss rises at the lowest order along every null direction that the search examined."""
        return self.order is not None and self.lowest > self.small

    @property
    def small(self) -> float:
        """Values up to this are zero: rounding, or as near to a zero of the form as the search ends."""
        return max(self.noise, SEMIDEFINITE_SHARE * max(abs(self.lowest), abs(self.highest)))

    @property
    def rate(self) -> float | None:
        r"""$c = -p F_p$ of $\dot r = c\,r^{p-1}$ on the steepest direction; `None` where the loss does not fall."""
        return -self.order * self.lowest if self.order is not None and self.falls else None

    def __str__(self) -> str:
        if self.order is None:
            return f"the loss does not change up to order {self.examined}"
        values = f"F_{self.order} from {self.lowest:.4g} to {self.highest:.4g} on the unit sphere of {self.dimension}"
        return f"the loss changes at order {self.order}, {values} dimension{'s' if self.dimension > 1 else ''}"


# The search ends within 1e-6 of a zero of a semidefinite form; relative to its largest value this is still zero.
SEMIDEFINITE_SHARE = 1e-6


def form_along(
    landscape: Landscape, theta: Float[np.ndarray, " n"], direction: Float[np.ndarray, " n"], order: int
) -> float:
    r"""The form of order p along a direction, not relaxed: $\frac{1}{p!} \frac{d^p}{ds^p} L(\theta + s d)$ at s = 0."""
    examined = next(highest for highest in ORDERS if highest >= order)
    series = gradient_series(landscape, theta, direction[None], order=examined)
    return float(series[order - 1] @ direction) / order


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
    moved: float = 0.0,
    max_order: int = ORDERS[0],
    search: bool = True,
    thresholds: Thresholds = STANDARD,
) -> NullSpaceForm:
    r"""The first form of the loss that does not vanish on the null space, with its extreme values.

    A form is zero if it is not larger than the errors of rounding, as measured, or if it can come from the point's not
    being quite the critical point: at a distance δ from a point of order m there are forms $F_p \sim \delta^{m-p}$ of
    all lower orders, for which $F_{p-1} F_{p+1} / F_p^2$ is about a half or more; at a critical point of order p it is
    as small as δ. That holds of each direction as well: a form that is positive in none but such directions is not
    known to be positive there.

    Args:
        landscape: loss and data.
        theta: the critical point.
        spectral: its spectrum.
        basis: orthonormal columns that span the part of the null space to examine, by default all of it; along orbits
            of symmetries the loss does not change, so that these may be left out.
        moved: the distance by which a search moved to the point, to the last place of which it is known at best.
        max_order: the highest order examined, from 3 to 12.
        search: whether to search for the extreme values; else they are those of a few random directions.
        thresholds: `rounding_safety` and `centred`.

    Returns:
        The form. Its extremes are the best of 24 local searches, without a certificate.

    Raises:
        ValueError: for a `max_order` that the gradient's expansion does not give.
    """
    if not 3 <= max_order <= ORDERS[-1]:
        raise ValueError(f"forms are examined from order 3 up to {ORDERS[-1]}; got max_order={max_order}.")
    highest = next(order for order in ORDERS if order >= max_order)
    basis = spectral.null_space if basis is None else basis
    dimension = basis.shape[1]
    nothing = NullSpaceForm(
        order=None, lowest=0.0, highest=0.0, direction=None, examined=max_order, dimension=dimension
    )
    if dimension == 0:
        return nothing
    reduced = reduction(landscape, theta, spectral, basis, highest + 1)
    probes = unit_rows(normal_vectors(STARTS, dimension)) if dimension > 1 else np.ones((1, 1))
    noise = thresholds.rounding_safety * noise_of_forms(reduced, probes, spectral, moved=moved)
    values, order, known = _probed(reduced, probes, max_order, noise, thresholds.centred)
    if order is None:
        return eqx.tree_at(lambda form: form.examined, nothing, known - 1)
    minima, top = _extremes(reduced, probes[: len(values)], values[:, order - 1], order, search)
    lowest, where = min(minima, key=lambda minimum: minimum[0])
    error = float(noise[order - 1])
    if lowest > error:
        sizes = [(value, np.abs(reduced.forms(c))[:known]) for value, c in minima]
        uncertain = [value for value, row in sizes if first_order(row, noise[:known], thresholds.centred) != order]
        error = max([error, *uncertain])
    return NullSpaceForm(
        order=order,
        lowest=lowest,
        highest=top,
        direction=basis @ where,
        examined=known - 1,
        dimension=dimension,
        noise=error,
    )


def _probed(
    reduced: Reduction,
    probes: Float[np.ndarray, "m k"],
    max_order: int,
    noise: Float[np.ndarray, " Q"],
    centred: float,
) -> tuple[Float[np.ndarray, "q P"], int | None, int]:
    """The forms on the first directions, or on all where the order hangs by little, and what `_first_known` says."""
    values = np.array([reduced.forms(c) for c in probes[:PROBES]])[:, : max_order + 1]
    order, known = _first_known(values, noise, centred)
    if order != _first_known(values, noise, centred / STRICTER)[0]:
        values = np.array([reduced.forms(c) for c in probes])[:, : max_order + 1]
        order, known = _first_known(values, noise, centred)
    return values, order, known


def _first_known(
    values: Float[np.ndarray, "m P"], noise: Float[np.ndarray, " Q"], centred: float
) -> tuple[int | None, int]:
    """The order of the first form on some directions, and the number of forms that are finite on all of them."""
    known = int(np.argmin([*np.all(np.isfinite(values), axis=0), False]))
    return first_order(np.max(np.abs(values[:, :known]), axis=0), noise[:known], centred), known


def unit_rows(rows: Float[np.ndarray, "m k"]) -> Float[np.ndarray, "m k"]:
    """The rows, normalised."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _extremes(
    reduced: Reduction, probes: Float[np.ndarray, "m k"], values: Float[np.ndarray, " m"], order: int, search: bool
) -> tuple[list[Minimum], float]:
    """The minima on the unit sphere, and the highest value, among the probes or by local searches."""
    signed = np.concatenate([values, values * (-1) ** order])
    both = np.concatenate([probes, -probes])
    lowest = float(np.min(signed)), both[int(np.argmin(signed))]
    if not search or probes.shape[1] == 1:
        return [lowest], float(np.max(signed))
    starts, scale = normal_vectors(STARTS, probes.shape[1]), float(np.max(np.abs(values)))
    if lowest[0] < 0:
        # That the form falls is known: the best of the probes lead to its steepest descent. That it never falls takes
        # a search from everywhere.
        starts = both[np.argsort(signed)[:IMPROVED]]

    def extremes(sign: float, starts: np.ndarray) -> list[Minimum]:
        def objective(c: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = reduced.form(c, order)
            return sign * value / scale, sign * slope / scale

        found = minima_on_sphere(objective, starts, gradient_tolerance=1e-10)
        return [(sign * scale * value, best) for value, best in found]

    minima = extremes(1.0, starts)
    # Forms of odd order change sign with the direction.
    if order % 2:
        return minima, -min(value for value, _ in minima)
    return minima, max(value for value, _ in extremes(-1.0, both[np.argsort(-signed)[:IMPROVED]]))
