"""Kinds where there is no dense Hessian: of networks too large for one, and at kinks of units that are zero."""

import dataclasses

import equinox as eqx
import numpy as np
from jaxtyping import Bool

from ...flows import flatten, unflatten
from ...flows.landscapes.unit_positions import unit_positions
from ...models.units import layer_of
from ..curvature.kinks import is_kinked, rays_from
from ..curvature.signs import critical_spectrum
from ..curvature.spectrum import DENSE_HESSIAN_LIMIT
from ..embeddings.embedded_curvature import EmbeddedSpectrum, embedded_spectrum
from ..embeddings.embedding import zero_rows
from ..leading_order.added_unit import AddedUnitForm
from ..leading_order.added_units import AddedUnitsForm
from ..leading_order.sphere import STARTS, normal_vectors
from ..leading_order.unit_effect import unit_effect
from ..rounding import perturbed
from .classify_at_kinks import classify_at_kinks
from .critical_point import CriticalPoint
from .evidence import Evidence
from .kind import Kind

LARGE = f"more than {DENSE_HESSIAN_LIMIT} parameters: no dense Hessian was made"
KINKED = "no Hessian: not twice differentiable here (zero units)"


def classify_without_hessian(known: Evidence) -> Kind:
    """The kind by units to spare, blocks of an embedding, and the loss alone.

    Args:
        known: the point, with the effect of added units.

    Returns:
        The kind.
    """
    point = known.point
    if known.smooth and is_kinked(rays := rays_from(point.landscape, point.theta, point.start)):
        return classify_at_kinks(known, rays)
    if point.embedding is not None and point.embedding.layered:
        return _several_layers(known)
    return _large(known) if known.smooth else _kinked(known)


def _large(known: Evidence) -> Kind:
    """The kind from blocks as large as the narrow network, the form of an added unit, and the loss alone."""
    form, blocks = known.form, _blocks(known)
    order = None if form is None else form.order
    if blocks is not None and blocks.index:
        evidence = f"{LARGE}; by blocks of the embedding {blocks}"
        return Kind(name="strict saddle", order=2, added_unit_form=form, evidence=evidence, blocks=blocks)
    if known.spare_lowers and order == 2:
        evidence = f"{LARGE}; {_by_how_much(form)}"
        return Kind(name="strict saddle", order=2, added_unit_form=form, evidence=evidence)
    if known.spare_lowers and blocks is not None:
        evidence = f"{LARGE}; by blocks of the embedding {blocks}, but a small unit lowers the loss"
        return Kind(name="degenerate saddle", order=order, added_unit_form=form, evidence=evidence, blocks=blocks)
    higher = None if known.lowers or known.lower_bound_attained is not None else _higher_order(known)
    if higher is not None:
        evidence = f"{LARGE}; a small unit lowers the loss at order {higher}"
        return Kind(name="degenerate saddle", order=higher, evidence=evidence, blocks=blocks)
    return _minimum_or_undetermined(known, LARGE, blocks)


def _by_how_much(form: AddedUnitForm | AddedUnitsForm | None) -> str:
    """That a small unit lowers the loss at second order, in words."""
    if isinstance(form, AddedUnitForm):
        return f"a small unit lowers the loss, s = {form.strength:.6g}"
    return f"a small unit lowers the loss{'' if form is None else f', of norm r by {form.steepest:.6g} r²'}"


def _higher_order(known: Evidence) -> int | None:
    """The order at which a unit to spare lowers the loss where its lowest-order form vanishes, as for tanh units."""
    embedding, landscape = known.point.single_layer, known.point.landscape
    units = layer_of(landscape.model)
    if units is None or units.law.degree is not None or not isinstance(known.form, AddedUnitForm):
        return None
    if embedding is None or not any(embedding.spare):
        return None
    effect = unit_effect(landscape, embedding)
    q = effect.first_order(normal_vectors(STARTS, effect.u.size), safety=known.thresholds.rounding_safety)
    return None if q is None else q + 1


def _blocks(known: Evidence) -> EmbeddedSpectrum | None:
    """The inertia of a point that was found as an embedding of a narrow network; what rounding makes counts as zero."""
    embedding, landscape = known.point.single_layer, known.point.landscape
    if embedding is None or layer_of(landscape.model) is None:
        return None
    # They are those of a loss that depends on the sum of units alone, not on penalties of their weights.
    if isinstance(known.form, AddedUnitsForm):
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
        return _kinked_minimum(known) or _minimum_or_undetermined(known, why)
    name = "degenerate saddle" if form.order > 2 else "strict saddle" if known.smooth else "non-smooth saddle"
    order, at = known.fall
    return Kind(name=name, order=order, added_unit_form=form, evidence=f"{why}; {known.added}, at {at}")


def _kinked(known: Evidence) -> Kind:
    """Zero units with a kink: the positively homogeneous form of an added unit decides, if it is of second order."""
    form = known.form
    if form is None or form.order != 2 or not known.spare_lowers:
        return _kinked_minimum(known) or _minimum_or_undetermined(known, KINKED)
    evidence = f"{KINKED}; {_by_how_much(form)}"
    return Kind(name="non-smooth saddle", order=2, added_unit_form=form, evidence=evidence)


def _kinked_minimum(known: Evidence) -> Kind | None:
    """A minimum by its form of second order, in zero units with a kink and in all other weights, if it is positive."""
    # To second order each zero unit acts for itself. What is left of the Hessian without their kinks is that of the
    # other weights, and the penalty on those of the zero units.
    point, form = known.point, known.form
    if known.smooth or not isinstance(form, AddedUnitsForm) or form.rises != 2:
        return None
    if point.theta.size > DENSE_HESSIAN_LIMIT:
        return None
    zero = _of_zero_units(point)
    # A search leaves zero units at the smallest of numbers; from there to zero and back their kinks are met.
    theta = np.where(zero, 0.0, point.theta)
    found = critical_spectrum(point.landscape, theta, thresholds=known.thresholds)
    mixed = (found.eigenvectors[zero] * found.eigenvalues) @ found.eigenvectors[~zero].T
    if found.index or found.nullity or np.any(np.abs(mixed) > found.zero_threshold):
        return None
    positive = "its form of second order is positive, on weights of zero units as far as a search can tell"
    return Kind(name="minimum", added_unit_form=form, evidence=f"{KINKED}; {positive}")


def _of_zero_units(point: CriticalPoint) -> Bool[np.ndarray, " n"]:
    """Which weights are those of units that the narrow network does not use."""
    assert point.embedding is not None
    zero = np.zeros(point.theta.size, bool)
    for p, q, layer in point.embedding.maps:
        zero[unit_positions(point.landscape.model, layer)[zero_rows(p, q)]] = True
    return zero
