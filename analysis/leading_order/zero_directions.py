"""Directions in which a positive semidefinite leading-order form vanishes: the loss along curves that leave in them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..curvature.spectrum import Spectrum
from ..rounding import perturbed
from ..thresholds import STANDARD, Thresholds
from .curve_of_minima import curve_of_minima
from .null_space_form import ORDERS, NullSpaceForm
from .reduction import Reduction, changed_copies, first_order, last_place, reduction
from .sphere import STARTS, minima_on_sphere, normal_vectors

# Two directions are one if the cosine between them differs from one by less than this: minima of a form are found to
# about the square root of rounding, where it is as flat as a quartic to its fourth root.
SAME_DIRECTION = 1e-4
# Displacement for second derivatives of a form on the unit sphere: they steer an iteration, which corrects them.
DISPLACEMENT = 1e-4
# A second derivative of the form across a zero direction is zero if it is below this share of the form's largest value:
# beside a direction in which a quartic vanishes, found to a hundredth, it is 12 times 1e-4.
FLAT_SHARE = 1e-3
# Distances at which the change is looked for, as shares of that at which it outgrows the form: the eighth power of the
# least is rounding of a loss of one, at the largest higher orders may outgrow it.
DISTANCES = (0.01, 0.03, 0.1, 0.2, 0.4)


class Beyond(NamedTuple):
    """The loss beyond a semidefinite form.

    Attributes:
        order: at which it falls along a curve, `None` where it is not seen to.
        rises: whether it rises along all curves that leave in zero directions of the form, or is the same on them.
        direction: the curve's direction.
        reason: the same in words.
    """

    order: int | None
    rises: bool
    direction: Float[np.ndarray, " n"] | None
    reason: str


def beyond_the_form(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    spectral: Spectrum,
    form: NullSpaceForm,
    *,
    basis: Float[np.ndarray, "n k"],
    moved: float = 0.0,
    thresholds: Thresholds = STANDARD,
) -> Beyond:
    r"""Whether the loss falls along a curve that leaves in a direction in which a semidefinite form vanishes.

    Where $F_p \ge 0$ with $F_p(d) = 0$ the loss depends on higher orders along d. The reduction is repeated: along
    $s d + s^2 w_2 + \dots$ in the null space the coordinates across d are relaxed as well, by the second derivative of
    $F_p$ at d. The loss falls if it does so along one of these curves. It falls in no direction if each zero direction
    is isolated, the second derivative across it is positive, and the loss rises along its curve, or the curve consists
    of critical points of the same loss.

    Args:
        landscape: the loss.
        theta: the critical point.
        spectral: its spectrum.
        form: of even order, and zero to its accuracy in some directions, negative in none.
        basis: orthonormal columns that span the part of the null space that was examined.
        moved: the distance by which a search moved to the point.
        thresholds: `rounding_safety` and `centred`.

    Returns:
        What happens.

    Source: the Newton polygon of a function with a degenerate principal part, as in Arnold, Gusein-Zade & Varchenko
    (1985), Section 6.
    """
    assert form.order is not None
    reduced = reduction(landscape, theta, spectral, basis, ORDERS[-1] + 1)
    zeros, rises, same = _zero_directions(reduced, form), True, 0
    # Beside the curve itself only what was not examined is null on it.
    nullity = spectral.nullity - basis.shape[1] + 1
    falls: list[tuple[int, np.ndarray]] = []
    for c in zeros:
        order, coefficient, curve, isolated = _along(reduced, c, form, spectral, moved, thresholds)
        falling = order is not None and (coefficient < 0 or order % 2 == 1)
        seen = order is not None and _seen(reduced, curve, form, order, coefficient, thresholds.rounding_safety)
        if order is not None and falling and seen:
            falls.append((order, c))
        flat = order is None and rises and isolated
        flat = flat and curve_of_minima(landscape, theta, curve, nullity, thresholds=thresholds)
        rises, same = rises and isolated and not falling and (flat or seen), same + flat
    if falls:
        order, c = min(falls, key=lambda fall: fall[0])
        reason = f"where F_{form.order} vanishes the loss falls at order {order}"
        return Beyond(order=order, rises=False, direction=basis @ c, reason=reason)
    if rises and len(zeros):
        reason = f"where F_{form.order} vanishes, in {len(zeros)} isolated directions, the loss rises at higher order"
        if same:
            reason += f", or, in {same}, is that of critical points which were followed"
        return Beyond(order=None, rises=True, direction=None, reason=reason)
    return Beyond(
        order=None,
        rises=False,
        direction=None,
        reason=f"F_{form.order} vanishes in some directions, in which the loss was not seen to fall",
    )


def _zero_directions(reduced: Reduction, form: NullSpaceForm) -> list[Float[np.ndarray, " k"]]:
    """The distinct minima of the form on the unit sphere at which it is zero."""
    order, scale = form.order, max(abs(form.highest), abs(form.lowest))
    assert order is not None

    def objective(c: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = reduced.form(c, order)
        return value / scale, slope / scale

    # Zeros of forms that are sums of few monomials often lie on the axes.
    axes = np.eye(reduced.basis.shape[1])
    starts = np.concatenate([normal_vectors(STARTS, len(axes)), axes, -axes])
    found: list[np.ndarray] = []
    for value, c in minima_on_sphere(objective, starts, gradient_tolerance=1e-12):
        if abs(value) * scale <= form.small and all(c @ other < 1 - SAME_DIRECTION for other in found):
            found.append(c)
    return found


def _along(
    reduced: Reduction,
    c: Float[np.ndarray, " k"],
    form: NullSpaceForm,
    spectral: Spectrum,
    moved: float,
    thresholds: Thresholds,
) -> tuple[int | None, float, Float[np.ndarray, "q n"], bool]:
    """Order and coefficient of the loss along a zero direction's curve, the curve, and whether the zero is isolated."""
    assert form.order is not None
    p, across = form.order, np.linalg.svd(c[None])[2][1:]
    second = np.array(
        [
            (reduced.form(c + DISPLACEMENT * e, p)[1] - reduced.form(c - DISPLACEMENT * e, p)[1]) @ across.T
            for e in across
        ]
    ).reshape(len(across), len(across)) / (2 * DISPLACEMENT)
    values, vectors = np.linalg.eigh((second + second.T) / 2)
    positive = values > FLAT_SHARE * max(abs(form.highest), abs(form.lowest))
    # In coefficients of the basis: the part of the null space in which the form has a second derivative.
    stiff, curvatures = across.T @ vectors[:, positive], values[positive]
    # A search finds the zero of a form to the square root of rounding; what is left of the form would be of some order.
    c = c - stiff @ ((stiff.T @ reduced.form(c, p)[1]) / curvatures)
    c /= np.linalg.norm(c)
    coefficients, curve = _relaxed(reduced, c, p, stiff, curvatures)
    noise = last_place(reduced)
    for copy in changed_copies(reduced, spectral, moved=moved):
        noise = np.maximum(noise, np.abs(_relaxed(copy, c, p, stiff, curvatures)[0] - coefficients))
    known = int(np.argmin([*np.isfinite(coefficients + noise), False]))
    sizes, rounding = np.abs(coefficients[:known]), thresholds.rounding_safety * noise[:known]
    # A direction that is not quite a zero of the form shows as a point does that is not quite critical.
    order = first_order(sizes, rounding, thresholds.centred, lowest=p + 1)
    return order, 0.0 if order is None else float(coefficients[order - 1]), curve, bool(np.all(positive))


def _seen(
    reduced: Reduction,
    curve: Float[np.ndarray, "q n"],
    form: NullSpaceForm,
    order: int,
    coefficient: float,
    safety: float,
) -> bool:
    """Whether the loss changes along a curve at some finite distance by as much as its lowest order says."""
    landscape, theta = reduced.landscape, reduced.theta
    start = float(landscape.value(theta))
    # Beyond this distance along the curve the term is larger than the form across it.
    assert form.order is not None
    length = (max(abs(form.highest), abs(form.lowest)) / abs(coefficient)) ** (1 / (order - form.order))
    changes = [float(copy.value(point)) - start for copy, point in perturbed(landscape, theta)]
    noise = safety * float(np.max(np.abs(changes)))
    for share in DISTANCES:
        # Where the order is odd, to the side to which it falls.
        s = -(np.sign(coefficient) ** order) * share * length
        powers = s ** np.arange(1, len(curve) + 1)
        change = float(landscape.value(theta + powers @ curve)) - start
        expected = coefficient * s**order
        if abs(change) > noise and 1 / 2 <= change / expected <= 2:
            return True
    return False


def _relaxed(
    reduced: Reduction,
    c: Float[np.ndarray, " k"],
    p: int,
    stiff: Float[np.ndarray, "k m"],
    curvatures: Float[np.ndarray, " m"],
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, "q n"]]:
    r"""The coefficients of the loss along $s d + s^2 (a_2 + w_2) + \dots$, both relaxed, order by order.

    $w_j$ answers to the gradient of order $p + j - 2$, as the form's second derivative is of order $p - 2$ in s.

    Args:
        reduced: the reduction.
        c: the zero direction, in coefficients of the basis.
        p: order of the form.
        stiff: orthonormal directions in which the form has a second derivative, as columns of coefficients.
        curvatures: these second derivatives.

    Returns:
        The coefficients, and the curve.
    """
    highest, d, stiff = reduced.highest, reduced.basis @ c, reduced.basis @ stiff
    curve = np.zeros((highest - 1, d.size))
    curve[0] = d
    # w_j is settled when the others are relaxed for it: each sweep settles a further order of theirs, and the gradient
    # of order p + j - 2 depends on the p - 2 orders after that of w_j.
    for j in range(2, highest - p + 2):
        for _ in range(p):
            series = reduced.series(curve)
            for k in range(2, highest):
                curve[k - 1] -= reduced.inverse(series[k])
        curve[j - 1] -= stiff @ ((stiff.T @ reduced.series(curve)[p + j - 2]) / curvatures)
    for _ in range(highest - 1):
        series = reduced.series(curve)
        for k in range(2, highest):
            curve[k - 1] -= reduced.inverse(series[k])
    series = reduced.series(curve)
    # dL/ds = ∇L · γ'.
    rates = [
        sum(k * float(series[q - k] @ curve[k - 1]) for k in range(1, min(q, highest - 1) + 1))
        for q in range(1, highest + 1)
    ]
    return np.array(rates) / np.arange(1, highest + 1), curve
