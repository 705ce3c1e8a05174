"""Kinds where there is a Hessian: strict, degenerate, minimum, or undetermined, with the null space explained."""

from typing import NamedTuple

import numpy as np

from ..curvature.spectrum import Spectrum, spectrum
from ..embeddings.embedding import Embedding
from ..leading_order.null_space_form import NullSpaceForm, null_space_form
from ..leading_order.null_space_probe import probe_null_space
from .evidence import Evidence
from .kind import Kind, KindName, OnRequest
from .null_space import NullSpace, null_space


class _Decision(NamedTuple):
    """Name and order of a kind, why, and the form along the null space where it was needed."""

    name: KindName
    order: int | None
    reason: str
    along: NullSpaceForm | None = None


def classify_by_hessian(known: Evidence) -> Kind:
    """The kind of a point at which the loss is twice differentiable and small enough for a dense Hessian.

    Args:
        known: the point, with the effect of added units.

    Returns:
        The kind, with its spectrum and with the null space explained.
    """
    point = known.point
    found = spectrum(point.landscape, point.theta, zero_threshold=known.zero_threshold)
    embedding = point.embedding if isinstance(point.embedding, Embedding) else None
    inside = known.thresholds.inside_null_space
    explained = null_space(found, point.model, point.landscape.data, embedding, inside=inside)
    decision = _by_eigenvalues(known, found)
    decision = _along_null_space(known, found, explained) if decision is None else decision
    evidence = f"{decision.reason}; {explained.summary}"
    if decision.along is not None and decision.name != "degenerate saddle":
        evidence += f", along which {decision.along}"
    return Kind(
        name=decision.name,
        order=decision.order,
        spectrum=found,
        added_unit_form=known.form,
        evidence=evidence,
        null_space_form=decision.along,
        null_space=explained,
        on_request=OnRequest(
            landscape=point.landscape,
            theta=point.theta,
            spectrum=found,
            null_space=explained,
            scales=known.scales,
        ),
    )


def _by_eigenvalues(known: Evidence, found: Spectrum) -> _Decision | None:
    """The decision by eigenvalues, added units and the loss; `None` if the null space has to be searched."""
    if found.index > 0:
        lowest = f"{found.index} negative eigenvalues, the lowest {found.eigenvalues[0]:.6g}"
        return _Decision("strict saddle", 2, lowest)
    if known.spare_lowers and known.form is not None:
        order = known.form.order
        return _Decision(
            "degenerate saddle", order, f"degenerate, order {order}: no negative eigenvalue, but {known.added}"
        )
    if known.lower_bound_attained is not None:
        return _Decision("minimum", None, known.lower_bound_attained)
    if found.nullity == 0:
        return _Decision("minimum", None, "the Hessian is positive definite")
    if known.no_unit_helps is not None:
        return _Decision("minimum", None, f"positive semidefinite; {known.no_unit_helps}")
    return None


def _along_null_space(known: Evidence, found: Spectrum, explained: NullSpace) -> _Decision:
    """A positive semidefinite Hessian whose null space no unit explains: follows the loss along it."""
    landscape, theta, scales, thresholds = known.point.landscape, known.point.theta, known.scales, known.thresholds
    probed = probe_null_space(landscape, theta, found, weight_scale=scales.weight)
    flat = bool(np.all(np.abs(probed.changes) <= thresholds.loss_silent * scales.loss))
    if flat and probed.gradient <= thresholds.flat_gradient * scales.gradient:
        manifold = "the null space tangent to a manifold of critical points (numerical evidence)"
        return _Decision("minimum", None, f"positive semidefinite, {manifold}")
    lowest = null_space_form(landscape, theta, found, basis=explained.directions, scales=scales)
    if lowest.falls:
        reason = f"degenerate, order {lowest.order}: along a null direction of the Hessian {lowest}"
        return _Decision("degenerate saddle", lowest.order, reason, lowest)
    if lowest.rises:
        return _Decision("minimum", None, "positive semidefinite", lowest)
    reason = "positive semidefinite; along the null space the loss is neither flat nor seen to fall or rise everywhere"
    return _Decision("undetermined", None, reason, lowest)
