"""Verdicts where there is a Hessian: strict, degenerate, minimum, or undetermined, with null space and certificate."""

import numpy as np

from ...models.units import units_of
from ..curvature.scales import Scales
from ..curvature.spectrum import Spectrum, spectrum
from ..embeddings.embedding import Embedding
from ..leading_order.added_unit import AddedUnitForm
from ..leading_order.added_units import AddedUnitsForm
from ..leading_order.null_space_form import null_space_form
from ..leading_order.null_space_probe import probe_null_space
from .critical_point import GRADIENT_TOLERANCE, CriticalPoint
from .kind import Further, Kind
from .null_space import NullSpace, null_space

NO_UNIT_HELPS = "no unit of any size lowers the loss to first order, so none does if it is convex in the sum of units"

Form = AddedUnitForm | AddedUnitsForm | None


def with_hessian(point: CriticalPoint, form: Form, scales: Scales, *, escapes: bool, why: str = "") -> Kind:
    """The verdict on a point whose loss is twice differentiable and small enough for a dense Hessian.

    **Arguments:** `point`; `form`: of added units; `scales`; `escapes`: whether the form lets units
    that are there but unused lower the loss, `why` in words.
    """
    spectral = spectrum(point.landscape, point.theta, zero_threshold=zero_threshold(point, scales))
    single = point.embedding if isinstance(point.embedding, Embedding) else None
    explained = null_space(spectral, point.model, point.landscape.data, single)
    kind = _verdict(point, spectral, form, escapes, why, explained, scales)
    return _with_proof(kind, spectral, point, explained, scales)


def zero_threshold(point: CriticalPoint, scales: Scales) -> float | None:
    """|λ| up to which an eigenvalue says nothing, the point being known only so far.

    Where the loss is of third order a gradient of g leaves the point uncertain by √g, and its eigenvalues as much.
    """
    if scales.curvature is None:
        return None
    accuracy = max(point.gradient_norm / scales.gradient, np.finfo(float).eps)
    return 10 * scales.curvature * float(np.sqrt(accuracy))


def zero_loss(point: CriticalPoint, scales: Scales) -> bool:
    """Whether the loss is zero to rounding."""
    return abs(point.loss) <= 1e-14 * scales.loss


def no_unit_helps(point: CriticalPoint, form: AddedUnitForm | AddedUnitsForm | None, escapes: bool) -> bool:
    """Whether M(u) vanishes for all u: the lowest order, which is what was examined, is all of a homogeneous φ."""
    units = units_of(point.landscape.model)
    return isinstance(form, AddedUnitForm) and not escapes and units is not None and units.law.degree is not None


def _verdict(point, spectral, form, escapes, why, explained, scales) -> Kind:
    if spectral.index > 0:
        evidence = f"{spectral.index} negative eigenvalues, the lowest {spectral.eigenvalues[0]:.6g}"
        return Kind("strict saddle", 2, spectral, form, evidence)
    if escapes:
        evidence = f"degenerate, order {form.order}: no negative eigenvalue, but {why}"
        return Kind("degenerate saddle", form.order, spectral, form, evidence)
    if zero_loss(point, scales):
        return Kind("minimum", None, spectral, form, "the loss is zero to rounding")
    if spectral.nullity == 0:
        return Kind("minimum", None, spectral, form, "the Hessian is positive definite")
    if no_unit_helps(point, form, escapes):
        return Kind("minimum", None, spectral, form, f"positive semidefinite; {NO_UNIT_HELPS}")
    return _flat(point, spectral, form, explained, scales)


def _flat(point, spectral, form, explained, scales) -> Kind:
    """A positive semidefinite Hessian with a null space that no unit explains: look along it."""
    found = probe_null_space(point.landscape, point.theta, spectral, weight_scale=scales.weight)
    # Rounding of the loss, and the certificate of the critical point itself.
    silent = 1e3 * np.finfo(float).eps * scales.loss
    still = found.gradient <= 10 * GRADIENT_TOLERANCE * scales.gradient
    if np.all(np.abs(found.changes) <= silent) and still:
        evidence = "positive semidefinite, the null space tangent to a manifold of critical points (numerical evidence)"
        return Kind("minimum", None, spectral, form, evidence)
    lowest = null_space_form(point.landscape, point.theta, spectral, basis=explained.directions, scales=scales)
    if lowest.falls:
        evidence = f"degenerate, order {lowest.order}: along a null direction of the Hessian {lowest}"
        return Kind("degenerate saddle", lowest.order, spectral, form, evidence, lowest)
    if lowest.rises:
        return Kind("minimum", None, spectral, form, "positive semidefinite", lowest)
    evidence = (
        "positive semidefinite; along the null space the loss is neither flat nor seen to fall or rise everywhere"
    )
    return Kind("undetermined", None, spectral, form, evidence, lowest)


def _with_proof(kind: Kind, spectral: Spectrum, point: CriticalPoint, explained: NullSpace, scales: Scales) -> Kind:
    """The verdict with its null space explained, and what can be asked of it besides."""
    evidence = f"{kind.evidence}; {explained}"
    if kind.null_space_form is not None and kind.name != "degenerate saddle":
        evidence += f", along which {kind.null_space_form}"
    return Kind(
        kind.name,
        kind.order,
        spectral,
        kind.added_unit_form,
        evidence,
        kind.null_space_form,
        explained,
        further=Further(point.landscape, point.theta, spectral, explained, scales),
    )
