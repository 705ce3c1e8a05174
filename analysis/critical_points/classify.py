"""What a critical point is, and on what evidence."""

import numpy as np
from diffrax import AbstractSolver
from jaxtyping import Float

from ...models.units import layers_of, units_of
from ..curvature.scales import Scales
from ..curvature.spectrum import DENSE_HESSIAN_LIMIT
from ..embeddings.embedded_curvature import EmbeddedSpectrum, embedded_spectrum
from ..embeddings.embedding import Embedding, LayeredEmbedding
from ..leading_order.added_unit import added_unit_form
from ..leading_order.added_units import added_units_form
from ..threads import in_one_thread
from .classify_by_hessian import NO_UNIT_HELPS, no_unit_helps, with_hessian, zero_loss, zero_threshold
from .critical_point import CriticalPoint
from .kind import Kind
from .slow_point import flat_channel, ghost

# A zero of the gradient farther from the closest approach than this many times the weights' size is not simply what
# slowed the flow down: along a flat channel the gradient vanishes at infinity.
FAR = 2.0
# A form weaker than this share of the flow's largest speed is zero to rounding.
ZERO_FORM = 1e-8


@in_one_thread
def classify(
    point: CriticalPoint,
    *,
    scales: Scales | None = None,
    starts: Float[np.ndarray, "k Nu"] | None = None,
    solver: AbstractSolver | None = None,
) -> Kind:
    r"""Decides what a critical point is.

    In this order: a zero unit of a law that is not smooth leaves no Hessian, and the positively homogeneous form of
    an added unit decides; a negative eigenvalue makes a strict saddle; a positive semidefinite Hessian with a
    dormant unit that can lower the loss at order p ≥ 3, or with a null direction along which the lowest form of the
    loss is negative, makes a degenerate saddle. What has no such descent is a minimum if its loss is zero; if its
    Hessian is positive definite; if the loss's derivative in the output is orthogonal to every unit (then no network
    of any width does better, provided that the loss is convex in the sum of units, as squared errors are); if its null
    space is tangent to a manifold of critical points (Morse–Bott); or if the lowest form is positive on all of the null
    space, as far as a search can tell. Anything else stays undetermined. Without a critical point, a flow that
    goes on for ever is in a flat channel, and a minimum of the speed that is not zero is a ghost.

    **Arguments:** `point`; `scales`: sizes that count as large, by default 1; `starts`: incoming
    parameters from which to search for the steepest dormant unit; `solver`: with which a flow is followed that may go
    on for ever, by default `simulate`'s choice.
    """
    scales = Scales() if scales is None else scales
    if not point.refined:
        return Kind("undetermined", None, None, None, f"not refined: more than {DENSE_HESSIAN_LIMIT} parameters")
    elsewhere = _without_point(point, scales, solver)
    if elsewhere is not None:
        return elsewhere
    if isinstance(point.embedding, LayeredEmbedding):
        return _several_layers(point, scales)
    units = units_of(point.landscape.model)
    form = None
    if units is not None and units.law.zero and point.embedding is not None:
        form = added_unit_form(point.landscape, embedding=point.embedding, starts=starts)
    escapes = form is not None and form.strength > ZERO_FORM * scales.gradient
    if units is not None and not units.law.smooth and point.embedding is not None and np.any(point.embedding.dormant):
        return _non_smooth(point, form, escapes, scales)
    if point.theta.size > DENSE_HESSIAN_LIMIT:
        return _without_hessian(point, form, escapes, scales)
    unused = escapes and point.embedding is not None and bool(np.any(point.embedding.dormant))
    return with_hessian(point, form, scales, escapes=unused, why="a small unit lowers the loss")


def _without_point(point: CriticalPoint, scales: Scales, solver: AbstractSolver | None) -> Kind | None:
    """The verdict where there is no critical point, or none nearby."""
    far = point.distance > FAR * float(np.linalg.norm(point.start))
    if point.converged and not far:
        return None
    found = flat_channel(point.landscape, point.start, solver=solver)
    if found is None and not point.converged:
        found = ghost(point.landscape, point.start, curvature=scales.curvature or 1.0, gradient=scales.gradient)
    if found is not None:
        return Kind(found.name, None, None, None, found.evidence)
    if point.converged:
        return None
    reason = f"‖∇L‖∞ = {point.gradient_norm:.1e} at distance {point.distance:.2g} from the closest approach"
    return Kind("no critical point", None, None, None, reason)


def _without_hessian(point, form, escapes, scales) -> Kind:
    """What blocks as large as the narrow network, the form of an added unit, and the loss alone can tell."""
    large = f"more than {DENSE_HESSIAN_LIMIT} parameters: no dense Hessian was made"
    blocks = _blocks(point, scales)
    if blocks is not None and blocks.index:
        return Kind("strict saddle", 2, None, form, f"{large}; by blocks of the embedding {blocks}", blocks=blocks)
    if escapes and form.order == 2 and _unused(point):
        evidence = f"{large}; a small unit lowers the loss at second order, with curvature −{form.strength:.6g}"
        return Kind("strict saddle", 2, None, form, evidence)
    if escapes and blocks is not None and np.any(point.embedding.dormant):
        evidence = f"{large}; by blocks of the embedding {blocks}, but a small unit lowers the loss"
        return Kind("degenerate saddle", form.order, None, form, evidence, blocks=blocks)
    kind = _minimum_without_hessian(point, form, escapes, scales, large)
    kind = Kind("undetermined", None, None, form, large) if kind is None else kind
    return Kind(kind.name, None, None, form, kind.evidence, blocks=blocks)


def _blocks(point: CriticalPoint, scales: Scales) -> EmbeddedSpectrum | None:
    """The inertia of a point that was found as an embedding, if it has a Hessian."""
    embedding, units = point.embedding, units_of(point.landscape.model)
    if not isinstance(embedding, Embedding) or units is None:
        return None
    if not units.law.smooth and np.any(embedding.dormant):
        return None
    return embedded_spectrum(point.landscape, embedding, zero_threshold=zero_threshold(point, scales))


def _minimum_without_hessian(point, form, escapes, scales, why: str) -> Kind | None:
    """The verdict "minimum" where no Hessian is needed for it; `why` says why there is none."""
    if zero_loss(point, scales):
        return Kind("minimum", None, None, form, f"{why}; the loss is zero to rounding")
    if no_unit_helps(point, form, escapes):
        return Kind("minimum", None, None, form, f"{why}; {NO_UNIT_HELPS}")
    return None


def _unused(point: CriticalPoint) -> bool:
    """Whether the wide network has a unit to spare: more units than columns of its embedding."""
    embedding = point.embedding
    return isinstance(embedding, Embedding) and embedding.p_in.shape[0] > embedding.p_in.shape[1]


def _several_layers(point: CriticalPoint, scales: Scales) -> Kind:
    """Units in several layers: whether the loss falls at second order, or when one is added to each of them."""
    embedding = point.embedding
    assert isinstance(embedding, LayeredEmbedding)
    form, silent = None, 1e3 * np.finfo(float).eps * scales.loss
    if any(p.shape[0] > p.shape[1] for p, _ in embedding.layers) and not zero_loss(point, scales):
        form = added_units_form(point.landscape, embedding, weight_scale=scales.weight, silent=silent)
    falls = form is not None and form.order is not None
    added = (
        "one small unit in every layer lowers the loss" if falls else "no small units were found that lower the loss"
    )
    smooth = all(units.law.smooth for units in layers_of(point.landscape.model)) or not np.any(embedding.dormant)
    if not smooth or point.theta.size > DENSE_HESSIAN_LIMIT:
        large = f"more than {DENSE_HESSIAN_LIMIT} parameters: no dense Hessian was made"
        why = large if smooth else "no Hessian: not twice differentiable here (zero units)"
        if zero_loss(point, scales):
            return Kind("minimum", None, None, None, f"{why}; the loss is zero to rounding")
        if form is None or form.order is None:
            return Kind("undetermined", None, None, form, f"{why}; {added}")
        name = "degenerate saddle" if form.order > 2 else "strict saddle" if smooth else "non-smooth saddle"
        return Kind(name, form.order, None, form, f"{why}; {added}, at order {form.order}")
    return with_hessian(point, form, scales, escapes=falls, why=added)


def _non_smooth(point, form, escapes, scales) -> Kind:
    lost = "no Hessian: not twice differentiable here (zero units)"
    if escapes:
        evidence = f"{lost}; a small unit lowers the loss, s = {form.strength:.6g}"
        return Kind("non-smooth saddle", 2, None, form, evidence)
    undetermined = Kind("undetermined", None, None, form, f"{lost}; no added unit lowers the loss to second order")
    return _minimum_without_hessian(point, form, escapes, scales, lost) or undetermined
