"""Invariant manifolds along a flow: how far each is, how fast it is left, and which constraint broke."""

from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Trajectory
from ...flows.landscapes.unit_positions import unit_history
from ...models import incoming
from ...models.units import declared_units, units_matrix
from ..critical_points.critical_point import CriticalPoint
from ..curvature.spectrum import hessian
from ..embeddings.embedding import Embedding, LayeredEmbedding
from ..embeddings.width import EffectiveWidth
from ..leading_order.added_unit import AddedUnitForm
from ..numerical_rank import MAP_TOLERANCE, numerical_rank
from ..visits.escape import steady_rate
from ..visits.itinerary import Visit, itinerary
from .projection import distances_to_widths

# Saved times at which distances are taken; clustering units takes about a millisecond a time and width.
POINTS = 200


class SplitSpectrum(eqx.Module):
    r"""The Hessian at an embedded critical point, along the manifold of its embedding and across it.

    - `tangential`: eigenvalues along it, those of the narrow network's Hessian in the wide network's metric;
    - `normal`: all others; the manifold is left along the negative ones;
    - `coupling`: the largest entry of the Hessian between the two, zero as the flow keeps the manifold.
    """

    tangential: Float[np.ndarray, " k"]
    normal: Float[np.ndarray, " n-k"]
    coupling: float


class Departure(eqx.Module):
    r"""How a visit's manifold was left.

    - `visit`: its number; `time`, `width`; `distance`: from the manifold of this width at closest approach;
    - `order`: p of the growth $\dot r = c\, r^{p-1}$ of that distance r; `rate_measured`: c on the steadiest phase,
      `e_folds`: ln of the growth in it; `rate_predicted`: from the fastest normal eigenvalue, or from the form of an
      added unit where there is no Hessian or no negative eigenvalue;
    - `split`: the spectrum along and across the manifold, `None` where there is no Hessian;
    - `broken`: which constraints did not hold any more at the next visit.
    """

    visit: int
    time: float
    width: int
    distance: float
    order: int
    rate_measured: float | None
    e_folds: float
    rate_predicted: float | None
    split: SplitSpectrum | None
    broken: tuple[str, ...]


class ManifoldHistory(eqx.Module):
    r"""Distances of a flow from the manifolds of every effective width.

    - `times`; `widths`: r; `distances`: from the manifold of width r, one column each; `embedding`: the type of
      constraint that defines them (iv: linear dependence, iii: proportionality, ii: zero or equal, i: equal);
    - `departures`: one for each visit that the flow left.
    """

    times: Float[np.ndarray, " T"]
    widths: tuple[int, ...]
    distances: Float[np.ndarray, "T R"]
    embedding: str
    departures: tuple[Departure, ...]

    def __str__(self) -> str:
        lines = [f"manifolds of effective width {self.widths[0]} to {self.widths[-1]} (type {self.embedding})"]
        for left in self.departures:
            measured = "?" if left.rate_measured is None else f"{left.rate_measured:.5g}"
            predicted = "" if left.rate_predicted is None else f" (predicted {left.rate_predicted:.5g})"
            growth = "exponential" if left.order == 2 else f"order {left.order}"
            lines.append(
                f"  visit {left.visit}, t = {left.time:.4g}: {left.distance:.2e} from width {left.width}; left at rate "
                f"{measured}{predicted}, {growth}, over {left.e_folds:.1f} e-folds: {'; '.join(left.broken) or 'none'}"
            )
        return "\n".join(lines)


def manifold_history(
    trajectory: Trajectory, visits: Sequence[Visit] | None = None, *, layer: int = 0, widest: int | None = None
) -> ManifoldHistory:
    """Distances of a flow from its invariant manifolds, and how they were left.

    **Arguments:** `trajectory`: of a model with units; `visits`: its itinerary, computed if not given; `layer`: of
    units, from 0, where several have them; `widest`: largest width to look at, by default one more than any visit's.
    """
    law = declared_units(trajectory.initial_model, layer).law
    visits = itinerary(trajectory) if visits is None else visits
    visited = [visit.effective_widths[layer].width for visit in visits]
    units = incoming(trajectory.initial_model, layer).shape[0]
    widest = min(units, max(visited, default=0) + 1) if widest is None else widest
    if not 0 <= widest <= units:
        raise ValueError(f"the largest width must be between 0 and the number of units, {units}; got {widest}.")
    widths = tuple(range(0 if law.zero else 1, widest + 1))
    kept = np.linspace(0, len(trajectory.ts) - 1, min(POINTS, len(trajectory.ts))).astype(int)
    kept = np.unique(np.concatenate([kept, [visit.passage.index for visit in visits]]).astype(int))
    theta = unit_history(trajectory.initial_model, trajectory.thetas[kept], layer)
    distances = distances_to_widths(theta, law, widths)
    pairs = enumerate(zip(visits, visits[1:], strict=False))
    departures = tuple(_departure(trajectory, number, visit, later, layer) for number, (visit, later) in pairs)
    return ManifoldHistory(trajectory.ts[kept], widths, distances, law.embedding, departures)


def _departure(trajectory: Trajectory, number: int, visit: Visit, later: Visit, layer: int) -> Departure:
    effective, following = visit.effective_widths[layer], later.effective_widths[layer]
    law, width, passage = declared_units(trajectory.initial_model, layer).law, effective.width, visit.passage
    # From the closest approach until the next one, of which the steadiest phase of growth counts.
    first, last = passage.index, later.passage.index
    end = trajectory.ts[last] if passage.departure is None else passage.departure
    last = max(int(np.searchsorted(trajectory.ts, end)), first + 2)
    kept = np.unique(np.linspace(first, min(last, len(trajectory.ts) - 1), POINTS).astype(int))
    history = unit_history(trajectory.initial_model, trajectory.thetas[kept], layer)
    distances = distances_to_widths(history, law, (width,))[:, 0]
    order = visit.kind.order or 2
    measured, e_folds = steady_rate(trajectory.ts[kept], distances, order) if len(kept) > 2 else (None, 0.0)
    point, split = visit.critical_point, None
    if visit.kind.spectrum is not None and point.embedding is not None:
        split = split_spectrum(point)
    broken = broken_constraints(effective, following)
    predicted = _predicted(visit, split)
    growth = order, measured, e_folds, predicted, split, broken
    return Departure(number, visit.time, width, float(distances[0]), *growth)


def _predicted(visit: Visit, split: SplitSpectrum | None) -> float | None:
    if split is not None and visit.kind.name == "strict saddle":
        lowest = float(np.min(split.normal, initial=0.0))
        return -lowest if lowest < 0 else None
    form = visit.kind.added_unit_form
    return form.rate if isinstance(form, AddedUnitForm) and form.strength > 0 else None


def tangent_basis(embedding: Embedding | LayeredEmbedding) -> Float[np.ndarray, "n k"]:
    r"""Orthonormal columns that span the wide parameters $(P_u U', P_v V')$ of an embedding, and what is outside units.

    The flow keeps this linear space.
    """
    matrix = units_matrix(embedding.narrow, embedding.maps)
    basis, sizes, _ = np.linalg.svd(matrix, full_matrices=False)
    return basis[:, : numerical_rank(sizes, MAP_TOLERANCE)]


def split_spectrum(point: CriticalPoint) -> SplitSpectrum:
    """The eigenvalues of the Hessian along and across the manifold of a critical point's embedding.

    **Raises:** `ValueError` for a point without an embedding.
    """
    if point.embedding is None:
        raise ValueError("the critical point comes from no narrower network: its model declares no units.")
    matrix, basis = hessian(point.landscape, point.theta), tangent_basis(point.embedding)
    full = np.linalg.qr(np.column_stack([basis, np.eye(len(basis))]))[0] if basis.size else np.eye(len(matrix))
    split, k = full.T @ matrix @ full, basis.shape[1]
    coupling = float(np.max(np.abs(split[:k, k:]), initial=0.0))
    return SplitSpectrum(np.linalg.eigvalsh(split[:k, :k]), np.linalg.eigvalsh(split[k:, k:]), coupling)


def broken_constraints(before: EffectiveWidth, after: EffectiveWidth) -> tuple[str, ...]:
    r"""What Theorem 3's constraints the units obeyed at one visit and not at the next.

    For type iv the rank that grew; for the others which units left zero and which rays or groups of copies split.
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


def _units(numbers: np.ndarray) -> str:
    names = ", ".join(map(str, numbers[:6])) + (", …" if len(numbers) > 6 else "")
    return ("unit " if len(numbers) == 1 else "units ") + names
