"""Directions in which a positive semidefinite leading-order form vanishes: the loss along curves that leave in them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..curvature.spectrum import Spectrum
from ..thresholds import STANDARD, Thresholds
from .null_space_form import ORDERS, NullSpaceForm, first_order
from .reduction import Reduction, noise_of_forms, reduction
from .sphere import STARTS, minima_on_sphere, normal_vectors

# Two directions are one if the cosine between them differs from one by less than this: minima of a form are found to
# about the square root of rounding, where it is as flat as a quartic to its fourth root.
SAME_DIRECTION = 1e-4
# Displacement for second derivatives of a form on the unit sphere: they steer an iteration, which corrects them.
DISPLACEMENT = 1e-4
# A second derivative of the form across a zero direction is zero if it is below this share of the form's largest value:
# beside a direction in which a quartic vanishes, found to a hundredth, it is 12 times 1e-4.
FLAT_SHARE = 1e-3


class Beyond(NamedTuple):
    """The loss beyond a semidefinite form.

    Attributes:
        order: at which it falls along a curve, `None` where it is not seen to.
        rises: whether it rises along all curves that leave in zero directions of the form.
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
    $F_p$ at d. The loss falls if it does so along one of these curves. It rises in all directions if each zero
    direction is isolated, the second derivative across it is positive, and the loss rises along its curve.

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
    zeros, rises = _zero_directions(reduced, form), True
    for c in zeros:
        order, sign, isolated = _along(reduced, c, form, spectral, moved, thresholds)
        if order is not None and (sign < 0 or order % 2):
            reason = f"where F_{form.order} vanishes the loss falls at order {order}"
            return Beyond(order=order, rises=False, direction=basis @ c, reason=reason)
        rises = rises and isolated and order is not None
    if rises and len(zeros):
        reason = f"where F_{form.order} vanishes, in {len(zeros)} isolated directions, the loss rises at higher order"
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
) -> tuple[int | None, float, bool]:
    """Order and sign of the loss along the relaxed curve of a zero direction, and whether the direction is isolated."""
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
    # In the basis of the whole space: the part of the null space in which the form has a second derivative.
    stiff, curvatures = reduced.basis @ across.T @ vectors[:, positive], values[positive]
    coefficients = _relaxed(reduced, c, p, stiff, curvatures)
    noise = thresholds.rounding_safety * noise_of_forms(reduced, c[None], spectral, moved=moved)
    # The direction is known to the accuracy of the search, and so is the zero of the form.
    noise[: p + 1] = np.maximum(noise[: p + 1], np.abs(coefficients[: p + 1]))
    known = int(np.argmin([*np.isfinite(coefficients), False]))
    sizes = np.where(np.arange(known) < p, 0.0, np.abs(coefficients[:known]))
    order = first_order(sizes, np.where(np.arange(known) < p, 0.0, noise[:known]), thresholds.centred)
    sign = 0.0 if order is None else float(np.sign(coefficients[order - 1]))
    return order, sign, bool(np.all(positive))


def _relaxed(
    reduced: Reduction,
    c: Float[np.ndarray, " k"],
    p: int,
    stiff: Float[np.ndarray, "n m"],
    curvatures: Float[np.ndarray, " m"],
) -> Float[np.ndarray, " P"]:
    r"""The coefficients of the loss along $s d + s^2 (a_2 + w_2) + \dots$, both relaxed, order by order.

    $w_j$ answers to the gradient of order $p + j - 2$, as the form's second derivative is of order $p - 2$ in s.

    Args:
        reduced: the reduction.
        c: the zero direction, in coefficients of the basis.
        p: order of the form.
        stiff: orthonormal directions of the null space in which the form has a second derivative, as columns.
        curvatures: these second derivatives.

    Returns:
        The coefficients.
    """
    highest, d = reduced.highest, reduced.basis @ c
    curve = np.zeros((highest - 1, d.size))
    curve[0] = d
    # Each sweep settles one further order of both; terms of lower order do not change any more.
    for _ in range(highest - 1):
        series = reduced.series(curve)
        for k in range(2, highest):
            curve[k - 1] -= reduced.inverse(series[k])
            if p + k - 2 < highest:
                curve[k - 1] -= stiff @ ((stiff.T @ series[p + k - 2]) / curvatures)
    series = reduced.series(curve)
    # dL/ds = ∇L · γ'.
    rates = [
        sum(k * float(series[q - k] @ curve[k - 1]) for k in range(1, min(q, highest - 1) + 1))
        for q in range(1, highest + 1)
    ]
    return np.array(rates) / np.arange(1, highest + 1)
