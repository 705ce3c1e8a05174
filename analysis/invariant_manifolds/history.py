"""Distances of a flow from the invariant manifolds of every effective width."""

from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Trajectory
from ...flows.landscapes.unit_positions import unit_history
from ...models import incoming
from ...models.units import declared_units
from ..found_units import with_units_along
from ..visits.itinerary import itinerary
from ..visits.visit import Visit
from .departure import POINTS, Departure, departure
from .projection import distances_to_widths


class ManifoldHistory(eqx.Module):
    r"""Distances of a flow from the manifolds of every effective width.

    Attributes:
        times: at which distances are known.
        widths: effective widths r.
        distances: from the manifold of width r, one column each.
        embedding: the type of constraint that defines the manifolds (iv: linear dependence, iii: proportionality, ii:
            zero or equal, i: equal).
        departures: one for each visit that the flow left.
    """

    times: Float[np.ndarray, " T"]
    widths: tuple[int, ...]
    distances: Float[np.ndarray, "T R"]
    embedding: str
    departures: tuple[Departure, ...]

    def __str__(self) -> str:
        lines = [f"manifolds of effective width {self.widths[0]} to {self.widths[-1]} (type {self.embedding})"]
        return "\n".join([*lines, *(f"  {departure.summary}" for departure in self.departures)])


def manifold_history(
    trajectory: Trajectory, visits: Sequence[Visit] | None = None, *, layer: int = 0, widest: int | None = None
) -> ManifoldHistory:
    """Distances of a flow from its invariant manifolds, and how they were left.

    Args:
        trajectory: of a model with units, declared or found.
        visits: its itinerary, computed if not given, which takes longer than all else.
        layer: of units, from 0, where several have them.
        widest: largest width to look at, by default one more than any visit's.

    Returns:
        The distances at 200 saved times and at the visits, and the departures.

    Raises:
        ValueError: for a largest width that is negative or above the number of units.
    """
    trajectory = with_units_along(trajectory)
    law = declared_units(trajectory.initial_model, layer).law
    visits = itinerary(trajectory) if visits is None else visits
    visited = [visit.effective_widths[layer].width for visit in visits]
    units: int = incoming(trajectory.initial_model, layer).shape[0]
    widest = min(units, max(visited, default=0) + 1) if widest is None else widest
    if not 0 <= widest <= units:
        raise ValueError(f"the largest width must be between 0 and the number of units, {units}; got {widest}.")
    widths = tuple(range(0 if law.zero else 1, widest + 1))
    saved = np.linspace(0, len(trajectory.ts) - 1, min(POINTS, len(trajectory.ts))).astype(int)
    saved = np.unique(np.concatenate([saved, [visit.passage.index for visit in visits]]).astype(int))
    theta = unit_history(trajectory.initial_model, trajectory.thetas[saved], layer)
    distances = distances_to_widths(theta, law, widths)
    pairs = enumerate(zip(visits, visits[1:], strict=False))
    departures = tuple(departure(trajectory, number, visit, later, layer) for number, (visit, later) in pairs)
    return ManifoldHistory(
        times=trajectory.ts[saved],
        widths=widths,
        distances=distances,
        embedding=law.embedding,
        departures=departures,
    )
