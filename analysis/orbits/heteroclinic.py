"""A heteroclinic orbit, from one critical point to another, as a boundary-value problem."""

from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import numpy as np
import scipy
from jaxtyping import Float

from ...flows import Landscape
from ...flows.losses.statistics import reduced_landscape
from ..critical_points.refine import solve_gradient
from ..curvature.spectrum import spectrum
from ..quadrature import interval_integrals
from ..thresholds import STANDARD
from ..visits.levels import time_on_spline
from .collocation import Ends, solve_orbit
from .connections import Connection

if TYPE_CHECKING:
    from scipy.interpolate import CubicHermiteSpline

# The orbit is cut off where it is within this share of the distance between its ends from the target.
CUT = 1e-3
# Halvings of the mesh before giving up, and unknowns beyond which the sparse factors no longer fit a small machine.
HALVINGS, MOST_UNKNOWNS = 4, 60_000


class HeteroclinicOrbit(eqx.Module):
    r"""An orbit of the flow that leaves one critical point and ends at another.

    Attributes:
        source: θ of the critical point that it leaves.
        target: θ of the critical point at which it ends.
        rate: −λ of the eigenvalue along which it leaves.
        times: of the orbit between small distances from both, from 0.
        path: θ at these times.
        losses: along the path.
        arc: arc length from the source.
        angle: the largest angle, in radians, between its tangent and −∇L, midway between the points at which the
            problem is posed: how far it is from a true orbit.
        gap: distance of its two ends from the critical points' unstable (source) and stable (target) eigenspaces,
            relative to the distance between source and target.
        converged: whether the angle is below the tolerance that was asked for.
    """

    source: Float[np.ndarray, " n"]
    target: Float[np.ndarray, " n"]
    rate: float
    times: Float[np.ndarray, " T"]
    path: Float[np.ndarray, "T n"]
    losses: Float[np.ndarray, " T"]
    arc: Float[np.ndarray, " T"]
    angle: float
    gap: float
    converged: bool

    @property
    def arc_length(self) -> float:
        """The length of the whole orbit, with straight pieces from its ends to the critical points."""
        return float(self.arc[-1] + np.linalg.norm(self.path[-1] - self.target))

    @property
    def profile(self) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:
        """The loss against the arc length from the source."""
        return self.arc, self.losses

    @property
    def transition_time(self) -> float:
        """Time from 10 % to 90 % of the drop in loss."""
        return self._time_of(1 - STANDARD.drop_fraction) - self._time_of(STANDARD.drop_fraction)

    def dwell(self, distance: float) -> float:
        r"""Time from a given small distance from the source until 10 % of the drop in loss are done.

        Below the distance at which the path starts the growth is exponential, at `rate`.

        Args:
            distance: positive, at most that at which the path starts.

        Returns:
            The dwell time.

        Raises:
            ValueError: for a distance out of range.
        """
        first = float(np.linalg.norm(self.path[0] - self.source))
        # The start of the path is at that distance to rounding.
        if not 0 < distance <= first * (1 + 1e-9):
            raise ValueError(f"the distance must be positive and at most that of the path's start, {first:.3g}.")
        return self._time_of(STANDARD.drop_fraction) + float(np.log(first / distance)) / self.rate

    def _time_of(self, fraction: float) -> float:
        """When a share of the drop in loss is done."""
        level = float(self.losses[0] + fraction * (self.losses[-1] - self.losses[0]))
        return time_on_spline(self.times, self.losses, level)

    def __str__(self) -> str:
        kind = "converged" if self.converged else "NOT converged"
        return (
            f"orbit from loss {self.losses[0]:.6g} to {self.losses[-1]:.6g}: {kind}\n"
            f"  arc length {self.arc_length:.6g}, leaves at rate {self.rate:.6g}, transition time "
            f"{self.transition_time:.4g}\n"
            f"  tangent and −∇L at most {self.angle:.1e} rad apart; gap at the ends {self.gap:.1e}"
        )


def heteroclinic_orbit(connection: Connection, *, intervals: int = 60, tolerance: float = 1e-5) -> HeteroclinicOrbit:
    r"""The orbit between two critical points, from the first guess that a connection is.

    Solves $\dot\theta = -\nabla L$ on a time interval with $\theta(0)$ on the source's unstable eigenspace at the
    distance at which the connection starts, and $\theta(T)$ on the target's stable and null eigenspaces (projection
    boundary conditions): no flow forward in time could end at a saddle. Collocation of order 4; the Newton steps are
    the shortest, as symmetries and families of orbits leave solutions free. The mesh is halved until the tangent agrees
    with −∇L between its points.

    Args:
        connection: from a strict saddle, by `follow`.
        intervals: of the first mesh; it is halved as often as needed, four times at most.
        tolerance: of the angle between tangent and −∇L, in radians.

    Returns:
        The orbit, with the angle and the gap that were reached.

    Raises:
        ValueError: for a source without unstable eigenvectors, and for too many unknowns.

    Source: Beyn (1990), "The numerical computation of connecting orbits in dynamical systems".
    """
    source, kind = connection.start, connection.escape_direction.kind
    if kind.spectrum is None or kind.spectrum.index == 0:
        raise ValueError(f"the source must be a strict saddle, with an unstable eigenspace; it is a {kind.name}.")
    if source.theta.size * intervals > MOST_UNKNOWNS:
        raise ValueError(
            f"{source.theta.size} parameters on {intervals} intervals are more than {MOST_UNKNOWNS} unknowns: reduce "
            "the network to the width of the orbit first."
        )
    landscape = reduced_landscape(source.landscape)
    times, path = _first_guess(landscape, connection, intervals)
    outside = kind.spectrum.eigenvectors[:, kind.spectrum.index :]
    distance = float(np.linalg.norm(connection.path[0] - source.theta))
    start = _Start(source=source.theta, outside=outside, distance=distance)
    found = _on_mesh(landscape, start, times, path, connection.end.theta)
    for _ in range(HALVINGS):
        if found.angle <= tolerance or found.path.size * 2 > MOST_UNKNOWNS:
            break
        times = np.sort(np.concatenate([times, (times[1:] + times[:-1]) / 2]))
        found = _on_mesh(landscape, start, times, found.spline(times), found.end)
    return HeteroclinicOrbit(
        source=source.theta,
        target=found.end,
        rate=connection.rate,
        times=times,
        path=found.path,
        losses=landscape.values_and_gradients(found.path)[0],
        arc=distance + _arc(found.spline),
        angle=found.angle,
        gap=found.residual / float(np.linalg.norm(found.end - source.theta)),
        converged=bool(found.angle <= tolerance),
    )


class _Start(NamedTuple):
    """The condition at the source: complement of its unstable eigenspace, and the distance of the orbit's start."""

    source: Float[np.ndarray, " n"]
    outside: Float[np.ndarray, "n s"]
    distance: float


class _Solution(NamedTuple):
    """The orbit on one mesh: the path, the critical point at its end, and how far it is from a true orbit."""

    path: Float[np.ndarray, "T n"]
    end: Float[np.ndarray, " n"]
    spline: "CubicHermiteSpline"
    angle: float
    residual: float


def _on_mesh(
    landscape: Landscape,
    start: _Start,
    times: Float[np.ndarray, " T"],
    path: Float[np.ndarray, "T n"],
    end: Float[np.ndarray, " n"],
) -> _Solution:
    """The orbit on a mesh, from a guess of its path and of the critical point at its end."""
    residual = 0.0
    # Twice, since the orbit may end elsewhere on the target's manifold than the first guess did.
    for _ in range(2):
        target = spectrum(landscape, end)
        unstable = target.eigenvectors[:, : target.index]
        ends = Ends(source=start.source, outside=start.outside, distance=start.distance, target=end, unstable=unstable)
        path, defect = solve_orbit(landscape, times, path, ends)
        end = solve_gradient(landscape, path[-1])
        outside = ends.residual(path[0], path[-1])[: start.outside.shape[1]]
        residual = float(np.linalg.norm(outside) + defect)
    spline = scipy.interpolate.CubicHermiteSpline(times, path, -landscape.values_and_gradients(path)[1])
    return _Solution(path=path, end=end, spline=spline, angle=_angle(landscape, spline), residual=residual)


def _first_guess(
    landscape: Landscape, connection: Connection, intervals: int
) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, "T n"]]:
    """The connection up to the cut, on a mesh that is uniform in the mean of time and arc length."""
    distances = np.linalg.norm(connection.path - connection.end.theta, axis=1)
    last = int(np.argmax(distances <= CUT * distances[0])) or len(distances) - 1
    times, path = connection.times[: last + 1], connection.path[: last + 1]
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    monitor = times / times[-1] + arc / arc[-1]
    mesh = np.interp(np.linspace(0, 2, intervals + 1), monitor, times)
    mesh[0], mesh[-1] = times[0], times[-1]
    return mesh, scipy.interpolate.CubicHermiteSpline(times, path, -landscape.values_and_gradients(path)[1])(mesh)


def _angle(landscape: Landscape, spline: "CubicHermiteSpline") -> float:
    """The largest angle between tangent and −∇L at quarters of the intervals, which are no collocation points."""
    times = spline.x
    quarters = np.sort(np.concatenate([times[:-1] + share * np.diff(times) for share in (0.25, 0.75)]))
    tangents, slopes = spline(quarters, 1), -landscape.values_and_gradients(spline(quarters))[1]
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (tangents, slopes)]
    # The chord between unit vectors: arccos cannot see small angles.
    return float(np.max(2 * np.arcsin(np.minimum(np.linalg.norm(units[0] - units[1], axis=1) / 2, 1.0))))


def _arc(spline: "CubicHermiteSpline") -> Float[np.ndarray, " T"]:
    """Arc length from the first point, by four points on every interval."""
    lengths = interval_integrals(lambda times: np.linalg.norm(spline(times, 1), axis=-1), spline.x, 4)
    return np.concatenate([[0.0], np.cumsum(lengths)])
