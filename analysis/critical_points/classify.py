"""Classification of critical points: strict, degenerate and non-smooth saddles, minima, flat channels, ghosts."""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
from diffrax import AbstractSolver
from jaxtyping import Float

from ...flows import flatten, unflatten
from ...models.arguments import record
from ...models.units import layer_of
from ..curvature.scales import Scales
from ..curvature.spectrum import DENSE_HESSIAN_LIMIT
from ..embeddings.embedded_curvature import EmbeddedSpectrum, embedded_spectrum
from ..embeddings.embedding import Embedding, LayeredEmbedding
from ..leading_order.added_unit import AddedUnitForm
from ..leading_order.sphere import STARTS, normal_vectors
from ..leading_order.unit_effect import unit_effect
from ..rounding import perturbed
from ..threads import in_one_thread
from ..thresholds import STANDARD, Thresholds
from .classify_by_hessian import classify_by_hessian
from .classify_by_products import classify_by_products
from .critical_point import CriticalPoint
from .evidence import Evidence, gather
from .kind import Kind
from .refine_by_products import BY_PRODUCTS_FROM, nearly_zero
from .slow_point import flat_channel, ghost

LARGE = f"more than {DENSE_HESSIAN_LIMIT} parameters: no dense Hessian was made"
KINKED = "no Hessian: not twice differentiable here (zero units)"


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

    Without a Hessian, for large networks and at kinks, only reasons (1) and (3) remain.

    Where the gradient has no zero nearby, the flow is integrated for three decades of time: it is in a flat channel if
    it diverges along a channel to infinity. Failing that, a nonzero minimum of the speed is a ghost.

    Args:
        point: from `critical_point`, or the critical point of a visit.
        scales: characteristic scales of the flow, by default 1.
        starts: incoming parameters from which to search for the steepest added unit, besides random ones.
        solver: with which the flow in a channel is integrated; by default `simulate` chooses.
        thresholds: what counts as zero, near and far.
        follow_channels: whether to integrate that flow, up to 20 000 steps. If not, no flat channel is recognised.

    Returns:
        The kind, with the spectrum, the forms and the sentence on which it rests.
    """
    record("point", point, CriticalPoint, "found by critical_point")
    scales = Scales() if scales is None else scales
    elsewhere = _without_point(point, scales, solver, thresholds, follow_channels)
    if elsewhere is not None:
        return elsewhere
    known = gather(point, scales=scales, starts=starts, thresholds=thresholds)
    if known.smooth and point.theta.size <= DENSE_HESSIAN_LIMIT:
        return classify_by_hessian(known)
    if isinstance(point.embedding, LayeredEmbedding):
        kind = _several_layers(known)
    else:
        kind = _without_hessian(known) if known.smooth else _kinked(known)
    counted = kind.index is not None or kind.name in ("minimum", "degenerate saddle")
    return classify_by_products(known, kind) if known.smooth and not counted else kind


def _without_point(
    point: CriticalPoint,
    scales: Scales,
    solver: AbstractSolver[Any] | None,
    thresholds: Thresholds,
    follow_channels: bool,
) -> Kind | None:
    """The kind where there is no critical point, or none nearby."""
    far = point.distance > thresholds.far * float(np.linalg.norm(point.start))
    if point.converged and not far:
        return None
    found = None
    if follow_channels:
        found = flat_channel(point.landscape, point.start, solver=solver, thresholds=thresholds)
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
    reason = f"‖∇L‖∞ = {point.gradient_norm:.1e} at distance {point.distance:.2g} from the closest approach"
    return Kind(name="no critical point", evidence=reason)


def _without_hessian(known: Evidence) -> Kind:
    """The kind from blocks as large as the narrow network, the form of an added unit, and the loss alone."""
    form, blocks = known.form, _blocks(known)
    order = form.order if isinstance(form, AddedUnitForm) else None
    if blocks is not None and blocks.index:
        evidence = f"{LARGE}; by blocks of the embedding {blocks}"
        return Kind(name="strict saddle", order=2, added_unit_form=form, evidence=evidence, blocks=blocks)
    if known.spare_lowers and order == 2 and isinstance(form, AddedUnitForm):
        evidence = f"{LARGE}; a small unit lowers the loss at second order, with curvature −{form.strength:.6g}"
        return Kind(name="strict saddle", order=2, added_unit_form=form, evidence=evidence)
    if known.spare_lowers and blocks is not None:
        evidence = f"{LARGE}; by blocks of the embedding {blocks}, but a small unit lowers the loss"
        return Kind(name="degenerate saddle", order=order, added_unit_form=form, evidence=evidence, blocks=blocks)
    higher = None if known.lowers or known.lower_bound_attained is not None else _higher_order(known)
    if higher is not None:
        evidence = f"{LARGE}; a small unit lowers the loss at order {higher}"
        return Kind(name="degenerate saddle", order=higher, evidence=evidence, blocks=blocks)
    return _minimum_or_undetermined(known, LARGE, blocks)


def _higher_order(known: Evidence) -> int | None:
    """The order at which a unit to spare lowers the loss where its lowest-order form vanishes, as for tanh units."""
    embedding, landscape = known.point.embedding, known.point.landscape
    units = layer_of(landscape.model)
    if units is None or units.law.degree is not None or not isinstance(embedding, Embedding):
        return None
    if not units.law.zero or not any(embedding.spare):
        return None
    effect = unit_effect(landscape, embedding)
    q = effect.first_order(normal_vectors(STARTS, effect.u.size), safety=known.thresholds.rounding_safety)
    return None if q is None else q + 1


def _blocks(known: Evidence) -> EmbeddedSpectrum | None:
    """The inertia of a point that was found as an embedding of a narrow network; what rounding makes counts as zero."""
    embedding, landscape = known.point.embedding, known.point.landscape
    if not isinstance(embedding, Embedding) or layer_of(landscape.model) is None:
        return None
    found, errors = embedded_spectrum(landscape, embedding), []
    for copy, theta in perturbed(landscape, flatten(embedding.narrow)):
        other = embedded_spectrum(copy, eqx.tree_at(lambda e: e.narrow, embedding, unflatten(embedding.narrow, theta)))
        pairs = zip(found.blocks, other.blocks, strict=True)
        errors += [np.max(np.abs(a.eigenvalues - b.eigenvalues), initial=0.0) for a, b in pairs]
    zero = max(found.zero_threshold, known.thresholds.rounding_safety * float(max(errors)))
    return dataclasses.replace(found, zero_threshold=zero)


def _minimum_or_undetermined(known: Evidence, why: str, blocks: EmbeddedSpectrum | None = None) -> Kind:
    """The kind without a Hessian where no descent was found: a minimum for one of two reasons, or undetermined."""
    reason = known.lower_bound_attained or known.no_unit_helps
    established = known.added if blocks is None else f"by blocks of the embedding {blocks}, and {known.added}"
    return Kind(
        name="undetermined" if reason is None else "minimum",
        added_unit_form=known.form,
        evidence=f"{why}; {established if reason is None else reason}",
        blocks=blocks,
    )


def _several_layers(known: Evidence) -> Kind:
    """Units in several layers without a Hessian: whether the loss falls when one is added to each with room."""
    why, form = LARGE if known.smooth else KINKED, known.form
    if form is None or form.order is None or not known.spare_lowers:
        return _minimum_or_undetermined(known, why)
    name = "degenerate saddle" if form.order > 2 else "strict saddle" if known.smooth else "non-smooth saddle"
    evidence = f"{why}; {known.added}, at order {form.order}"
    return Kind(name=name, order=form.order, added_unit_form=form, evidence=evidence)


def _kinked(known: Evidence) -> Kind:
    """Zero units with a kink: the positively homogeneous form of an added unit decides, if it is of second order."""
    form = known.form
    if isinstance(form, AddedUnitForm) and known.spare_lowers and form.order == 2:
        evidence = f"{KINKED}; a small unit lowers the loss, s = {form.strength:.6g}"
        return Kind(name="non-smooth saddle", order=2, added_unit_form=form, evidence=evidence)
    return _minimum_or_undetermined(known, KINKED)
