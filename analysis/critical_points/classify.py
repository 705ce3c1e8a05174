"""Classification of critical points: strict, degenerate and non-smooth saddles, minima, flat channels, ghosts."""

from typing import Any

import numpy as np
from diffrax import AbstractSolver
from jaxtyping import Float

from ...models.arguments import record
from ..curvature.scales import Scales
from ..curvature.spectrum import DENSE_HESSIAN_LIMIT
from ..threads import in_one_thread
from ..thresholds import STANDARD, Thresholds
from .classify_by_hessian import classify_by_hessian
from .classify_by_products import classify_by_products
from .classify_without_hessian import classify_without_hessian
from .critical_point import CriticalPoint
from .evidence import gather
from .flat_channel import flat_channel
from .ghost import ghost
from .kind import Kind
from .refine_by_products import BY_PRODUCTS_FROM, nearly_zero


@in_one_thread
# What leaves the range of numbers on a trial is no evidence for anything.
@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def classify(
    point: CriticalPoint,
    *,
    scales: Scales | None = None,
    starts: Float[np.ndarray, "k Nu"] | None = None,
    solver: AbstractSolver[Any] | None = None,
    thresholds: Thresholds = STANDARD,
    follow_channels: bool = True,
    follow_from: Float[np.ndarray, " n"] | None = None,
) -> Kind:
    r"""The kind of a critical point.

    The first of these that holds decides.

    - *Strict saddle*: a negative eigenvalue of the Hessian beyond its uncertainty or, without a Hessian, of a block of
      it, or a small unit that lowers the loss at second order. *Non-smooth saddle*: the same where units that are zero
      have a kink, by the positively homogeneous form of an added unit.
    - *Degenerate saddle*: units to spare that lower the loss at an order p ≥ 3, or a null direction along which the
      leading-order form of the loss falls.
    - *Minimum*, for one of these reasons:
      (1) the loss attains a lower bound: one that it declares, or that of all maps of the model's rank;
      (2) the Hessian is positive definite beyond the uncertainty of the point;
      (3) no unit helps: the loss is declared convex in the sum of units, and its derivative is orthogonal to all units,
      so that no network of any width does better;
      (4) the null space is tangent to orbits of symmetries or to an embedding's family of its dimension (Morse–Bott);
      (5) the leading-order form is positive on all of the null space, as far as a search can tell, or vanishes in
      isolated directions, in which the loss rises at a higher order or is that of critical points that are followed;
      (6) a family of critical points is followed in as many directions as the null space has.
    - *Undetermined*, with what was established.

    Without a Hessian, for large networks and at kinks, only reasons (1) and (3) remain, and at kinks that the form of
    second order is positive: the positively homogeneous one of a zero unit, and the Hessian in all other weights; or,
    where the gradient is seen to have no derivative in a model without declared units, that of all weights.

    Where the gradient has no zero nearby, the flow is integrated for some decades of time: it is in a flat channel if
    it diverges along a channel to infinity. Failing that, a nonzero minimum of the speed is a ghost.

    Args:
        point: from `critical_point`, or the critical point of a visit.
        scales: characteristic scales of the flow, by default 1.
        starts: incoming parameters from which to search for the steepest added unit, besides random ones.
        solver: with which the flow in a channel is integrated; by default `simulate` chooses.
        thresholds: what counts as zero, near and far.
        follow_channels: whether to integrate that flow, up to 20 000 steps. If not, no flat channel is recognised.
        follow_from: where that flow begins, such as the end of a flow; by default the closest approach.

    Returns:
        The kind, with the spectrum, the forms and the sentence on which it rests.
    """
    record("point", point, CriticalPoint, "found by critical_point")
    scales = Scales() if scales is None else scales
    follow_from = (point.start if follow_from is None else follow_from) if follow_channels else None
    if (elsewhere := _without_point(point, scales, solver, thresholds, follow_from)) is not None:
        return elsewhere
    known = gather(point, scales=scales, starts=starts, thresholds=thresholds)
    if known.smooth and point.theta.size <= DENSE_HESSIAN_LIMIT:
        return classify_by_hessian(known)
    kind = classify_without_hessian(known)
    counted = kind.index is not None or kind.name == "minimum"
    return classify_by_products(known, kind) if known.smooth and not counted else kind


def _without_point(
    point: CriticalPoint,
    scales: Scales,
    solver: AbstractSolver[Any] | None,
    thresholds: Thresholds,
    follow_from: Float[np.ndarray, " n"] | None,
) -> Kind | None:
    """The kind where there is no critical point, or none nearby."""
    far = point.distance > thresholds.far * float(np.linalg.norm(point.start))
    if point.converged and not far:
        return None
    found = None
    if follow_from is not None:
        found = flat_channel(point.landscape, follow_from, solver=solver, thresholds=thresholds)
    large = point.theta.size >= BY_PRODUCTS_FROM
    # A search in a large network that ended on its way to a zero of the gradient was at no ghost of one.
    on_its_way = large and nearly_zero(point.landscape, point.start, point.theta)
    if found is None and not point.converged and not on_its_way:
        curvature = scales.curvature or 1.0
        found = ghost(
            point.landscape,
            point.start,
            curvature=curvature,
            gradient=scales.gradient,
            nearby=point.theta if large else None,
            thresholds=thresholds,
        )
    if found is not None:
        return Kind(name=found.name, evidence=found.evidence)
    if point.converged:
        return None
    return Kind(name="no critical point", evidence=not_the_one_sought(point))


def not_the_one_sought(point: CriticalPoint) -> str:
    """The evidence that a search found no critical point on the plateau: gradient and loss where it came nearest.

    Args:
        point: that did not converge.

    Returns:
        Both in words, beside the loss at the closest approach.
    """
    return (
        f"the nearest candidate, at distance {point.distance:.2g} from the closest approach, has ‖∇L‖∞ = "
        f"{point.gradient_norm:.1e} and loss {point.loss:.6g}, and the closest approach "
        f"{float(point.landscape.value(point.start)):.6g}"
    )
