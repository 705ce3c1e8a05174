"""Kinds where there is a Hessian: strict, degenerate, minimum, or undetermined, with the null space explained."""

import functools
from typing import NamedTuple

from ..curvature.kinks import Rays
from ..curvature.signs import spectrum_unless_kinked
from ..curvature.spectrum import Spectrum
from ..leading_order.critical_family import critical_family
from ..leading_order.null_space_form import ORDERS, NullSpaceForm, null_space_form
from ..leading_order.zero_directions import beyond_the_form
from .classify_at_kinks import classify_at_kinks
from .evidence import Evidence
from .kind import Kind, KindName, OnRequest
from .null_space import NullSpace, null_space

# Null directions beside orbits and families that are searched: a form is sought on the sphere of their dimension, and a
# family of critical points is walked along each of them with a Hessian at every step.
SEARCHED = 100


class _Decision(NamedTuple):
    """Name and order of a kind, why, and the form along the null space where it was needed."""

    name: KindName
    order: int | None
    reason: str
    along: NullSpaceForm | None = None


def classify_by_hessian(known: Evidence) -> Kind:
    """The kind of a point of a network small enough for a dense Hessian, and of kinks that it is found to have.

    Args:
        known: the point, with the effect of added units.

    Returns:
        The kind, with its spectrum and with the null space explained.
    """
    point = known.point
    found = spectrum_unless_kinked(
        point.landscape, point.theta, start=point.start, moved=point.distance, thresholds=known.thresholds
    )
    if isinstance(found, Rays):
        return classify_at_kinks(known, found)
    inside = known.thresholds.inside_null_space
    explained = null_space(
        found,
        point.model,
        point.landscape.data,
        point.single_layer,
        moved=point.distance,
        inside=inside,
        attained=known.lower_bound_attained is not None,
    )
    decision = _by_eigenvalues(known, found, explained)
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
            moved=point.distance,
        ),
    )


def _by_eigenvalues(known: Evidence, found: Spectrum, explained: NullSpace) -> _Decision | None:
    """The decision by eigenvalues, added units and the loss; `None` if the null space has to be searched."""
    if found.index > 0:
        lowest = f"{found.index} negative eigenvalues, the lowest {found.eigenvalues[0]:.6g}"
        return _Decision("strict saddle", 2, lowest)
    # At second order the spectrum has the last word: it knows how far the point is uncertain.
    if known.spare_lowers and known.form is not None and known.form.order != 2:
        order, at = known.fall
        reason = f"degenerate, {at}: no negative eigenvalue, but {known.added}"
        return _Decision("degenerate saddle", order, reason)
    if known.lower_bound_attained is not None:
        return _Decision("minimum", None, known.lower_bound_attained)
    if found.nullity == 0:
        return _Decision("minimum", None, "the Hessian is positive definite beyond the uncertainty of the point")
    if known.spare_lowers:
        return _Decision("undetermined", None, f"positive semidefinite, and {known.added} by less than is certain here")
    if known.no_unit_helps is not None:
        return _Decision("minimum", None, f"positive semidefinite; {known.no_unit_helps}")
    if explained.critical:
        orbits = "the null space is tangent to orbits of symmetries and to the embedding's family, all of it"
        return _Decision("minimum", None, f"positive semidefinite, and {orbits} (Morse–Bott)")
    return None


def _along_null_space(known: Evidence, found: Spectrum, explained: NullSpace) -> _Decision:
    """A positive semidefinite Hessian whose null space nothing explains: follows the loss along it."""
    point, basis = known.point, explained.directions
    moved, thresholds = point.distance, known.thresholds
    if (count := basis.shape[1]) > SEARCHED:
        many = f"positive semidefinite; {count} null directions are no orbits, and too many to be searched"
        return _Decision("undetermined", None, many)
    form = _first_form(known, found, explained)
    if form.falls:
        reason = f"degenerate, order {form.order}: along a null direction of the Hessian {form}"
        return _Decision("degenerate saddle", form.order, reason, form)
    if form.rises:
        return _Decision("minimum", None, "positive semidefinite, and the leading-order form is positive", form)
    if form.order is None:
        family = critical_family(point.landscape, point.theta, found, basis=basis, thresholds=thresholds)
        if family.confirmed:
            return _Decision("minimum", None, f"positive semidefinite, {family}")
        return _Decision("undetermined", None, f"positive semidefinite, but {family.reason}", form)
    beyond = beyond_the_form(point.landscape, point.theta, found, form, basis=basis, moved=moved, thresholds=thresholds)
    if beyond.order is not None:
        return _Decision("degenerate saddle", beyond.order, f"degenerate, order {beyond.order}: {beyond.reason}", form)
    return _Decision(
        "minimum" if beyond.rises else "undetermined", None, f"positive semidefinite; {beyond.reason}", form
    )


def _first_form(known: Evidence, found: Spectrum, explained: NullSpace) -> NullSpaceForm:
    """The leading-order form along the null directions that nothing explains, of as low an order as decides."""
    low, high = (
        functools.partial(
            null_space_form,
            known.point.landscape,
            known.point.theta,
            found,
            basis=explained.directions,
            moved=known.point.distance,
            max_order=order,
            thresholds=known.thresholds,
        )
        for order in ORDERS
    )
    form = low()
    return high() if form.order is None else form
