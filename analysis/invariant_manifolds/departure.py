"""How a visit's invariant manifold was left: which direction grew, and which constraint broke."""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from ...flows import Trajectory
from ...flows.landscapes.unit_positions import unit_history
from ...models.units import declared_units, units_matrix
from ..critical_points.critical_point import CriticalPoint
from ..curvature.spectrum import hessian
from ..embeddings.embedding import Embedding
from ..embeddings.width import EffectiveWidth
from ..leading_order.added_unit import AddedUnitForm
from ..numerical_rank import MAP_TOLERANCE, numerical_rank
from ..visits.steady_rate import steady_rate
from ..visits.visit import Visit
from .projection import distances_to_widths

# Saved times at which distances are computed; clustering units takes about a millisecond per time and width.
POINTS = 200


class SplitSpectrum(eqx.Module):
    r"""The Hessian at an embedded critical point, along the manifold of its embedding and across it.

    Attributes:
        tangential: eigenvalues along it, those of the narrow network's Hessian in the wide network's metric.
        normal: all others; the manifold is left along the negative ones.
        coupling: the largest entry of the Hessian between the two, zero as the manifold is invariant under the flow.
    """

    tangential: Float[np.ndarray, " k"]
    normal: Float[np.ndarray, " m"]
    coupling: float

    def __str__(self) -> str:
        def described(values: Float[np.ndarray, " k"]) -> str:
            bounds = f", λ from {np.min(values):.6g} to {np.max(values):.6g}" if values.size else ""
            return f"{values.size} eigenvalues{bounds}"

        return (
            f"Hessian along and across an invariant manifold of dimension {self.tangential.size}\n"
            f"  tangential: {described(self.tangential)}\n"
            f"  normal: {described(self.normal)}\n"
            f"  coupling: {self.coupling:.1e}"
        )


class Departure(eqx.Module):
    r"""How a visit's manifold was left.

    Attributes:
        visit: its number.
        time: of closest approach.
        width: the effective width there, and of the manifold.
        distance: from the manifold at closest approach.
        order: p of the growth $\dot r = c\, r^{p-1}$ of that distance r, 2 at points that are no degenerate saddle;
            `None` at degenerate saddles whose order is not known.
        rate_measured: c on the steadiest phase of growth, `None` without growth or order.
        e_folds: ln of the growth in that phase.
        rate_predicted: c from the fastest normal eigenvalue, or from the form of an added unit where there is no
            Hessian or no negative eigenvalue.
        split: the spectrum along and across the manifold, `None` where there is no Hessian.
        broken: which constraints no longer held at the next visit.
    """

    visit: int
    time: float
    width: int
    distance: float
    order: int | None
    rate_measured: float | None
    e_folds: float
    rate_predicted: float | None
    split: SplitSpectrum | None
    broken: tuple[str, ...]

    @property
    def _rate(self) -> str:
        """The measured escape rate, and the predicted one where there is one."""
        measured = "?" if self.rate_measured is None else f"{self.rate_measured:.5g}"
        return measured if self.rate_predicted is None else f"{measured} (predicted {self.rate_predicted:.5g})"

    @property
    def _growth(self) -> str:
        """How the distance grew."""
        if self.order is None:
            return "of unknown order"
        return "exponential" if self.order == 2 else f"algebraic of order {self.order}"

    @property
    def summary(self) -> str:
        """Where it began, how it grew and what broke, in one line."""
        return (
            f"visit {self.visit}, t = {self.time:.4g}: {self.distance:.2e} from width {self.width}; left at rate "
            f"{self._rate}, {self._growth}, over {self.e_folds:.1f} e-folds: {'; '.join(self.broken) or 'none'}"
        )

    def __str__(self) -> str:
        return (
            f"departure of visit {self.visit} at t = {self.time:.4g} from width {self.width}\n"
            f"  distance at closest approach: {self.distance:.2e}\n"
            f"  growth: {self._growth}, rate {self._rate} over {self.e_folds:.1f} e-folds\n"
            f"  broken constraints: {'; '.join(self.broken) or 'none'}"
        )


def departure(trajectory: Trajectory, number: int, visit: Visit, later: Visit, layer: int) -> Departure:
    """How the manifold of a visit was left before the next one.

    Args:
        trajectory: the flow.
        number: of the visit.
        visit: to the manifold's critical point.
        later: the next visit.
        layer: of units, from 0, where several have them.

    Returns:
        The departure.
    """
    effective, following = visit.effective_widths[layer], later.effective_widths[layer]
    law, passage = declared_units(trajectory.initial_model, layer).law, visit.passage
    # From the closest approach until the next one, of which the steadiest phase of growth counts.
    first, last = passage.index, later.passage.index
    end = trajectory.ts[last] if passage.departure is None else passage.departure
    last = max(int(np.searchsorted(trajectory.ts, end)), first + 2)
    saved = np.unique(np.linspace(first, min(last, len(trajectory.ts) - 1), POINTS).astype(int))
    units = unit_history(trajectory.initial_model, trajectory.thetas[saved], layer)
    distances = distances_to_widths(units, law, (effective.width,))[:, 0]
    order = visit.kind.order or (None if visit.kind.name == "degenerate saddle" else 2)
    measured, e_folds = None, 0.0
    if order is not None and len(saved) > 2:
        measured, e_folds = steady_rate(trajectory.ts[saved], distances, order)
    point, split = visit.critical_point, None
    if visit.kind.spectrum is not None and point.embedding is not None:
        split = split_spectrum(point)
    return Departure(
        visit=number,
        time=visit.time,
        width=effective.width,
        distance=float(distances[0]),
        order=order,
        rate_measured=measured,
        e_folds=e_folds,
        rate_predicted=_predicted(visit, split),
        split=split,
        broken=broken_constraints(effective, following),
    )


def _predicted(visit: Visit, split: SplitSpectrum | None) -> float | None:
    """The rate from the fastest normal eigenvalue of a strict saddle, or else from the form of an added unit."""
    if split is not None and visit.kind.name == "strict saddle":
        lowest = float(np.min(split.normal, initial=0.0))
        return -lowest if lowest < 0 else None
    form = visit.kind.added_unit_form
    return form.rate if isinstance(form, AddedUnitForm) and form.strength > 0 else None


def tangent_basis(embedding: Embedding) -> Float[np.ndarray, "n k"]:
    r"""An orthonormal basis of the wide parameters $(P_u U', P_v V')$ of an embedding, and of those outside units.

    Args:
        embedding: of a narrow network in a wide one.

    Returns:
        The basis, as columns; the linear space that they span is invariant under the flow.
    """
    matrix = units_matrix(embedding.narrow, embedding.maps)
    basis, sizes, _ = np.linalg.svd(matrix, full_matrices=False)
    return basis[:, : numerical_rank(sizes, MAP_TOLERANCE)]


def split_spectrum(point: CriticalPoint) -> SplitSpectrum:
    """The eigenvalues of the Hessian along and across the manifold of a critical point's embedding.

    Args:
        point: a critical point that was found in a narrower network.

    Returns:
        Both parts of the spectrum, and their coupling.

    Raises:
        ValueError: for a point without an embedding.
    """
    if point.embedding is None:
        raise ValueError("the critical point comes from no narrower network: its model declares no units.")
    matrix, basis = hessian(point.landscape, point.theta), tangent_basis(point.embedding)
    full = np.linalg.qr(np.column_stack([basis, np.eye(len(basis))]))[0] if basis.size else np.eye(len(matrix))
    split, k = full.T @ matrix @ full, basis.shape[1]
    coupling = float(np.max(np.abs(split[:k, k:]), initial=0.0))
    tangential, normal = np.linalg.eigvalsh(split[:k, :k]), np.linalg.eigvalsh(split[k:, k:])
    return SplitSpectrum(tangential=tangential, normal=normal, coupling=coupling)


def broken_constraints(before: EffectiveWidth, after: EffectiveWidth) -> tuple[str, ...]:
    r"""The constraints of Theorem 3 that the units satisfied at one visit and not at the next.

    Args:
        before: effective width at the earlier visit.
        after: at the later one.

    Returns:
        For type iv the rank that grew; for the others which units left zero and which rays or groups of copies split.

    Source: Zhang, Saxe & Latham (2025), Theorem 3.
    """
    if before.groups is None or after.groups is None:
        return (f"rank {before.width} → {after.width}",) if after.width != before.width else ()
    what = "ray" if before.embedding == "iii" else "group of copies"
    broken = []
    for number in range(after.width):
        members = np.flatnonzero(after.groups == number)
        from_zero = members[before.groups[members] == -1]
        if len(from_zero) and len(from_zero) == len(members):
            broken.append(f"{_units(from_zero)} left zero")
        elif len(from_zero):
            broken.append(f"{_units(from_zero)} left zero and joined {what} {number}")
    for number in range(before.width):
        members = np.flatnonzero(before.groups == number)
        parts = [members[after.groups[members] == k] for k in np.unique(after.groups[members])]
        if len(parts) > 1:
            broken.append(f"{what} {number} split into " + " and ".join(_units(part) for part in parts))
    return tuple(broken)


def _units(numbers: Int[np.ndarray, " k"]) -> str:
    """The first six unit numbers in words."""
    names = ", ".join(map(str, numbers[:6])) + (", …" if len(numbers) > 6 else "")
    return ("unit " if len(numbers) == 1 else "units ") + names
