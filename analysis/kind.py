"""What a critical point is, and on what evidence."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..flows import flatten
from ..models import layers_of, units_of
from .certificate import Certificate, certificate
from .critical_point import GRADIENT_TOLERANCE, CriticalPoint
from .curvature import DENSE_LIMIT, Spectrum, spectrum
from .dormant import DormantForm, dormant_form
from .embedding import Embedding, LayeredEmbedding
from .joint_form import JointForm, joint_form
from .lowest_form import LowestForm, lowest_form
from .null_probe import probe_null_space
from .null_space import NullSpace, null_space
from .scales import Scales
from .slow_point import flat_channel, ghost

KindName = Literal[
    "strict saddle",
    "degenerate saddle",
    "non-smooth saddle",
    "minimum",
    "flat channel",
    "ghost",
    "undetermined",
    "no critical point",
]
# A zero of the gradient farther from the closest approach than this many times the weights' size is not simply what
# slowed the flow down: along a flat channel the gradient vanishes at infinity.
FAR = 2.0
NO_UNIT_HELPS = "no unit of any size lowers the loss to first order, so none does if it is convex in the sum of units"
# A form weaker than this share of the flow's largest speed is zero to rounding.
ZERO_FORM = 1e-8


class Kind(eqx.Module):
    """The kind of a critical point.

    - `name`: one of a closed list; `order`: order p of the lowest form that lets the loss fall (2 for strict and
      non-smooth saddles, at least 3 for degenerate ones), `None` where there is none;
    - `spectrum`: of the Hessian, `None` where the loss is not twice differentiable or the point was not found;
    - `dormant`: the form of an added unit, or of one in each layer where several have units; `None` for models
      without units or without a zero of φ;
    - `evidence`: one sentence.
    - `form`: the lowest form of the loss along null directions that symmetries do not explain, where there are such.
    - `null_space`: how the zero eigenvalues are explained; `certificate`: how far point and index are proven. Both are
      `None` without a spectrum.
    """

    name: KindName
    order: int | None
    spectrum: Spectrum | None
    dormant: DormantForm | JointForm | None
    evidence: str
    form: LowestForm | None = None
    null_space: NullSpace | None = None
    certificate: Certificate | None = None

    @property
    def proof(self) -> str:
        """How far the verdict is a proof: what the certificate says, or that it is numerical evidence only."""
        return "numerical evidence only" if self.certificate is None else str(self.certificate)


def kind(
    point: CriticalPoint,
    loss: Callable,
    data: Any,
    *,
    scales: Scales | None = None,
    starts: Float[np.ndarray, "k Nu"] | None = None,
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

    **Arguments:** `point`, `loss`, `data`; `scales`: sizes that count as large, by default 1; `starts`: incoming
    parameters from which to search for the steepest dormant unit.
    """
    scales = Scales() if scales is None else scales
    if not point.refined:
        return Kind("undetermined", None, None, None, f"not refined: more than {DENSE_LIMIT} parameters")
    elsewhere = _without_point(point, loss, data, scales)
    if elsewhere is not None:
        return elsewhere
    if isinstance(point.embedding, LayeredEmbedding):
        return _several_layers(point, loss, data, scales)
    units = units_of(point.model)
    form = None
    if units is not None and units.law.zero and point.embedding is not None:
        form = dormant_form(point.embedding.narrow, loss, data, starts=starts)
    escapes = form is not None and form.strength > ZERO_FORM * scales.gradient
    if units is not None and not units.law.smooth and point.embedding is not None and np.any(point.embedding.dormant):
        return _non_smooth(point, form, escapes, scales)
    if point.theta.size > DENSE_LIMIT:
        return _without_hessian(point, form, escapes, scales)
    spectral = spectrum(point.model, loss, data, zero_threshold=_zero_threshold(point, scales))
    explained = null_space(spectral, point.model, data, point.embedding)
    verdict = _smooth(point, loss, data, spectral, form, escapes, explained, scales)
    return _with_proof(verdict, point, loss, data, explained, scales)


def _without_point(point: CriticalPoint, loss, data, scales: Scales) -> Kind | None:
    """The verdict where there is no critical point, or none nearby."""
    far = point.distance > FAR * float(np.linalg.norm(flatten(point.start)))
    if point.converged and not far:
        return None
    found = flat_channel(point.start, loss, data)
    if found is None and not point.converged:
        found = ghost(point.start, loss, data, curvature=scales.curvature or 1.0, gradient=scales.gradient)
    if found is not None:
        return Kind(found.name, None, None, None, found.evidence)
    if point.converged:
        return None
    reason = f"‖∇L‖∞ = {point.gradient_norm:.1e} at distance {point.distance:.2g} from the closest approach"
    return Kind("no critical point", None, None, None, reason)


def _with_proof(verdict: Kind, point: CriticalPoint, loss, data, explained: NullSpace, scales: Scales) -> Kind:
    """The verdict with its null space explained, unexplained zeros looked at, and its certificate."""
    spectral, form, evidence = verdict.spectrum, verdict.form, f"{verdict.evidence}; {explained}"
    if form is None and explained.unexplained and verdict.name == "strict saddle":
        form = lowest_form(
            point.model, point.theta, loss, data, spectral, basis=explained.directions, scales=scales, search=False
        )
    if form is not None and verdict.name != "degenerate saddle":
        evidence += f", along which {form}"
    proof = certificate(point.model, point.theta, loss, data, spectral, explained=explained.unexplained == 0)
    return Kind(verdict.name, verdict.order, spectral, verdict.dormant, evidence, form, explained, proof)


def _without_hessian(point, form, escapes, scales) -> Kind:
    """What the form of an added unit and the loss alone can tell."""
    large = f"more than {DENSE_LIMIT} parameters: no dense Hessian was made"
    if escapes and form.order == 2 and _unused(point):
        evidence = f"{large}; a small unit lowers the loss at second order, with curvature −{form.strength:.6g}"
        return Kind("strict saddle", 2, None, form, evidence)
    return _minimum_without_hessian(point, form, escapes, scales, large) or Kind(
        "undetermined", None, None, form, large
    )


def _minimum_without_hessian(point, form, escapes, scales, why: str) -> Kind | None:
    """The verdict "minimum" where no Hessian is needed for it; `why` says why there is none."""
    if _zero_loss(point, scales):
        return Kind("minimum", None, None, form, f"{why}; the loss is zero to rounding")
    if _no_unit_helps(point, form, escapes):
        return Kind("minimum", None, None, form, f"{why}; {NO_UNIT_HELPS}")
    return None


def _unused(point: CriticalPoint) -> bool:
    """Whether the wide network has a unit to spare: more units than columns of its embedding."""
    embedding = point.embedding
    return isinstance(embedding, Embedding) and embedding.incoming.shape[0] > embedding.incoming.shape[1]


def _zero_threshold(point: CriticalPoint, scales: Scales) -> float | None:
    """|λ| up to which an eigenvalue says nothing, the point being known only so far.

    Where the loss is of third order a gradient of g leaves the point uncertain by √g, and its eigenvalues as much.
    """
    if scales.curvature is None:
        return None
    accuracy = max(point.gradient_norm / scales.gradient, np.finfo(float).eps)
    return 10 * scales.curvature * float(np.sqrt(accuracy))


def _zero_loss(point: CriticalPoint, scales: Scales) -> bool:
    return abs(point.loss) <= 1e-14 * scales.loss


def _no_unit_helps(point: CriticalPoint, form: DormantForm | JointForm | None, escapes: bool) -> bool:
    """Whether M(u) vanishes for all u: the lowest order, which is what was examined, is all of a homogeneous φ."""
    units = units_of(point.model)
    return isinstance(form, DormantForm) and not escapes and units is not None and units.law.degree is not None


def _several_layers(point: CriticalPoint, loss: Callable, data: Any, scales: Scales) -> Kind:
    """Units in several layers: whether the loss falls at second order, or when one is added to each of them."""
    embedding = point.embedding
    assert isinstance(embedding, LayeredEmbedding)
    form, silent = None, 1e3 * np.finfo(float).eps * scales.loss
    if any(p.shape[0] > p.shape[1] for p, _ in embedding.layers) and not _zero_loss(point, scales):
        form = joint_form(embedding.narrow, loss, data, weight_scale=scales.weight, silent=silent)
    falls = form is not None and form.order is not None
    added = (
        "one small unit in every layer lowers the loss" if falls else "no small units were found that lower the loss"
    )
    smooth = all(units.law.smooth for units in layers_of(point.model)) or not np.any(embedding.dormant)
    if not smooth or point.theta.size > DENSE_LIMIT:
        large = f"more than {DENSE_LIMIT} parameters: no dense Hessian was made"
        why = large if smooth else "no Hessian: not twice differentiable here (zero units)"
        if _zero_loss(point, scales):
            return Kind("minimum", None, None, None, f"{why}; the loss is zero to rounding")
        if form is None or form.order is None:
            return Kind("undetermined", None, None, form, f"{why}; {added}")
        name = "degenerate saddle" if form.order > 2 else "strict saddle" if smooth else "non-smooth saddle"
        return Kind(name, form.order, None, form, f"{why}; {added}, at order {form.order}")
    spectral = spectrum(point.model, loss, data, zero_threshold=_zero_threshold(point, scales))
    explained = null_space(spectral, point.model, data)
    if spectral.index == 0 and form is not None and form.order is not None:
        evidence = f"degenerate, order {form.order}: no negative eigenvalue, but {added}"
        verdict = Kind("degenerate saddle", form.order, spectral, form, evidence)
    else:
        verdict = _smooth(point, loss, data, spectral, form, False, explained, scales)
    return _with_proof(verdict, point, loss, data, explained, scales)


def _non_smooth(point, form, escapes, scales) -> Kind:
    lost = "no Hessian: not twice differentiable here (zero units)"
    if escapes:
        evidence = f"{lost}; a small unit lowers the loss, s = {form.strength:.6g}"
        return Kind("non-smooth saddle", 2, None, form, evidence)
    undetermined = Kind("undetermined", None, None, form, f"{lost}; no added unit lowers the loss to second order")
    return _minimum_without_hessian(point, form, escapes, scales, lost) or undetermined


def _smooth(point, loss, data, spectral, form, escapes, explained, scales) -> Kind:
    if spectral.index > 0:
        evidence = f"{spectral.index} negative eigenvalues, the lowest {spectral.eigenvalues[0]:.6g}"
        return Kind("strict saddle", 2, spectral, form, evidence)
    dormant = point.embedding is not None and np.any(point.embedding.dormant)
    if escapes and dormant:
        evidence = f"degenerate, order {form.order}: no negative eigenvalue, but a small unit lowers the loss"
        return Kind("degenerate saddle", form.order, spectral, form, evidence)
    if _zero_loss(point, scales):
        return Kind("minimum", None, spectral, form, "the loss is zero to rounding")
    if spectral.nullity == 0:
        return Kind("minimum", None, spectral, form, "the Hessian is positive definite")
    if _no_unit_helps(point, form, escapes):
        return Kind("minimum", None, spectral, form, f"positive semidefinite; {NO_UNIT_HELPS}")
    return _flat(point, loss, data, spectral, form, explained, scales)


def _flat(point, loss, data, spectral, form, explained, scales) -> Kind:
    """A positive semidefinite Hessian with a null space that no unit explains: look along it."""
    found = probe_null_space(point.model, point.theta, loss, data, spectral, weight_scale=scales.weight)
    # Rounding of the loss, and the certificate of the critical point itself.
    silent = 1e3 * np.finfo(float).eps * scales.loss
    still = found.gradient <= 10 * GRADIENT_TOLERANCE * scales.gradient
    if np.all(np.abs(found.changes) <= silent) and still:
        evidence = "positive semidefinite, the null space tangent to a manifold of critical points (numerical evidence)"
        return Kind("minimum", None, spectral, form, evidence)
    lowest = lowest_form(point.model, point.theta, loss, data, spectral, basis=explained.directions, scales=scales)
    if lowest.falls:
        evidence = f"degenerate, order {lowest.order}: along a null direction of the Hessian {lowest}"
        return Kind("degenerate saddle", lowest.order, spectral, form, evidence, lowest)
    if lowest.rises:
        return Kind("minimum", None, spectral, form, "positive semidefinite", lowest)
    evidence = (
        "positive semidefinite; along the null space the loss is neither flat nor seen to fall or rise everywhere"
    )
    return Kind("undetermined", None, spectral, form, evidence, lowest)
