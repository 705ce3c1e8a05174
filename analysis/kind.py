"""What a critical point is, and on what evidence."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ..models import units_of
from .critical_point import CriticalPoint
from .curvature import DENSE_LIMIT, Spectrum, spectrum, third_order_form
from .dormant import DormantForm, dormant_form

KindName = Literal[
    "strict saddle", "degenerate saddle", "non-smooth saddle", "minimum", "undetermined", "no critical point"
]
# A form weaker than this share of the flow's largest speed is zero to rounding.
ZERO_FORM = 1e-8
# Random directions of the null space on which the third-order form is probed.
PROBES = 8


class Kind(eqx.Module):
    """The kind of a critical point.

    - `name`: one of a closed list; `order`: order p of the lowest form that lets the loss fall (2 for strict and
      non-smooth saddles, at least 3 for degenerate ones), `None` where there is none;
    - `spectrum`: of the Hessian, `None` where the loss is not twice differentiable or the point was not found;
    - `dormant`: the form of an added unit, `None` for models without units or without a zero of φ;
    - `evidence`: one sentence.
    """

    name: KindName
    order: int | None
    spectrum: Spectrum | None
    dormant: DormantForm | None
    evidence: str


def kind(
    point: CriticalPoint,
    loss: Callable,
    data: Any,
    *,
    gradient_scale: float = 1.0,
    loss_scale: float = 1.0,
    starts: Float[np.ndarray, "k Nu"] | None = None,
) -> Kind:
    r"""Decides what a critical point is.

    In this order: a zero unit of a law that is not smooth leaves no Hessian, and the positively homogeneous form of
    an added unit decides; a negative eigenvalue makes a strict saddle; a positive semidefinite Hessian with a
    dormant unit that can lower the loss at order p ≥ 3, or a non-zero third derivative along a null direction, makes
    a degenerate saddle; what has no such descent is a minimum if its loss is zero, if its Hessian is positive
    definite, or if the loss's derivative in the output is orthogonal to every unit (then no network of any width does
    better, the loss being convex in an output that is a sum of units). Anything else stays undetermined.

    **Arguments:** `point`, `loss`, `data`; `gradient_scale`, `loss_scale`: sizes that count as large; `starts`:
    incoming parameters from which to search for the steepest dormant unit.
    """
    if not point.converged:
        reason = f"‖∇L‖∞ = {point.gradient_norm:.1e} at distance {point.distance:.2g} from the closest approach"
        return Kind("no critical point", None, None, None, reason)
    units = units_of(point.model)
    form = None
    if units is not None and units.law.zero and point.reduction is not None:
        form = dormant_form(point.reduction.narrow, loss, data, starts=starts)
    escapes = form is not None and form.strength > ZERO_FORM * gradient_scale
    if units is not None and not units.law.smooth and point.reduction is not None and np.any(point.reduction.dormant):
        return _non_smooth(point, form, escapes, loss_scale)
    if point.theta.size > DENSE_LIMIT:
        return Kind("undetermined", None, None, form, f"more than {DENSE_LIMIT} parameters: no dense Hessian was made")
    return _smooth(point, loss, data, form, escapes, gradient_scale, loss_scale)


def _zero_loss(point: CriticalPoint, loss_scale: float) -> bool:
    return abs(point.loss) <= 1e-14 * loss_scale


def _non_smooth(point, form, escapes, loss_scale) -> Kind:
    lost = "no Hessian: not twice differentiable here (zero units)"
    if escapes:
        evidence = f"{lost}; a small unit lowers the loss, s = {form.strength:.6g}"
        return Kind("non-smooth saddle", 2, None, form, evidence)
    if _zero_loss(point, loss_scale):
        return Kind("minimum", None, None, form, f"{lost}; the loss is zero to rounding")
    return Kind("undetermined", None, None, form, f"{lost}; no added unit lowers the loss to second order")


def _smooth(point, loss, data, form, escapes, gradient_scale, loss_scale) -> Kind:
    spectral = spectrum(point.model, loss, data)
    if spectral.index > 0:
        evidence = f"{spectral.index} negative eigenvalues, the lowest {spectral.eigenvalues[0]:.6g}"
        return Kind("strict saddle", 2, spectral, form, evidence)
    dormant = point.reduction is not None and np.any(point.reduction.dormant)
    if escapes and dormant:
        evidence = f"degenerate, order {form.order}: no negative eigenvalue, but a small unit lowers the loss"
        return Kind("degenerate saddle", form.order, spectral, form, evidence)
    if _zero_loss(point, loss_scale):
        return Kind("minimum", None, spectral, form, "the loss is zero to rounding")
    if spectral.nullity == 0:
        return Kind("minimum", None, spectral, form, "the Hessian is positive definite")
    cubic = _largest_third_form(point, loss, data, spectral)
    if cubic > np.sqrt(np.finfo(float).eps) * gradient_scale:
        evidence = f"degenerate, order 3: third derivative {cubic:.2g} along a null direction"
        return Kind("degenerate saddle", 3, spectral, form, evidence)
    if form is not None and not escapes:
        evidence = "positive semidefinite, and no unit of any size can lower the loss"
        return Kind("minimum", None, spectral, form, evidence)
    return Kind("undetermined", None, spectral, form, "positive semidefinite with a null space flat to third order")


def _largest_third_form(point, loss, data, spectral) -> float:
    null_space = spectral.null_space
    weights = np.asarray(jax.random.normal(jax.random.key(0), (PROBES, null_space.shape[1])))
    directions = weights @ null_space.T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return max(abs(third_order_form(point.model, loss, data, direction)) for direction in directions)
