"""A heteroclinic orbit, from one critical point to another, as a boundary-value problem."""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np
import scipy
from jaxtyping import Float

from ...flows import Landscape
from ...flows.compilation.traced import compiled
from ...flows.losses.statistics import reduced_landscape
from ..critical_points.critical_point import solve_gradient
from ..curvature.spectrum import spectrum
from ..visits.passages import FRACTION
from .connections import Connection

if TYPE_CHECKING:
    from scipy.interpolate import CubicHermiteSpline

# The orbit is cut off where it is within this share of the distance between its ends from the target.
CUT = 1e-3
# Intervals whose defects are computed in one call.
BLOCK = 20
# Newton steps; each solve starts near a solution and converges quadratically.
STEPS = 25
# Defects below this share of the distance between the ends are rounding.
SOLVED = 1e-12
# Tikhonov's weight in the Newton step: directions in which the problem says nothing stay as they are.
DAMPING = 1e-13
# Halvings of the mesh before giving up, and unknowns beyond which the sparse factors no longer fit a small machine.
HALVINGS, MOST_UNKNOWNS = 4, 60_000


class HeteroclinicOrbit(eqx.Module):
    r"""An orbit of the flow that leaves one critical point and ends at another.

    - `source`, `target`: θ of the critical points; `rate`: −λ of the eigenvalue along which it leaves.
    - `times`, `path`, `losses`: the orbit between small distances from both, time from 0; `arc`: arc length from the
      source.
    - `angle`: the largest angle, in radians, between its tangent and −∇L, midway between the points at which the
      problem is posed: how far it is from a true orbit.
    - `gap`: distance of its two ends from the critical points' unstable (source) and stable (target) eigenspaces,
      relative to the distance between source and target.
    - `converged`: the angle is below the tolerance that was asked for.
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
        """Time in which the loss falls from a tenth to nine tenths of its drop."""
        return self._time_of(1 - FRACTION) - self._time_of(FRACTION)

    def dwell(self, distance: float) -> float:
        r"""Time from a given small distance from the source until a tenth of the drop in loss is done.

        Below the distance at which the path starts the growth is exponential, at `rate`.
        """
        first = float(np.linalg.norm(self.path[0] - self.source))
        if not 0 < distance <= first * (1 + 1e-9):
            raise ValueError(f"the distance must be positive and at most that of the path's start, {first:.3g}.")
        return self._time_of(FRACTION) + float(np.log(first / distance)) / self.rate

    def _time_of(self, fraction: float) -> float:
        level = self.losses[0] + fraction * (self.losses[-1] - self.losses[0])
        return float(scipy.interpolate.CubicSpline(self.times, self.losses).solve(level, extrapolate=False)[0])

    def __str__(self) -> str:
        kind = "converged" if self.converged else "NOT converged"
        return (
            f"orbit from loss {self.losses[0]:.6g} to {self.losses[-1]:.6g}: arc length {self.arc_length:.6g}, "
            f"leaves at rate {self.rate:.6g}, transition time {self.transition_time:.4g}\n"
            f"  tangent and −∇L at most {self.angle:.1e} rad apart: {kind}"
        )


def _collocation(landscape: Landscape, path: Float[np.ndarray, "N+1 n"], steps: Float[np.ndarray, " N"]):
    """Lobatto's collocation of order 4: the defect of every interval, and its derivatives in both ends."""
    count = len(steps)
    # Filled up with intervals of length zero, so that one program serves any number.
    padded = np.concatenate([path, np.repeat(path[-1:], -count % BLOCK, axis=0)])
    steps = np.pad(steps, (0, -count % BLOCK))
    blocks = [_defects(landscape, padded[k : k + BLOCK + 1], steps[k : k + BLOCK]) for k in range(0, count, BLOCK)]
    return (np.concatenate(parts)[:count] for parts in zip(*blocks, strict=True))


@compiled
def _defects(landscape: Landscape, path: Float[Any, "N+1 n"], steps: Float[Any, " N"]):
    def defect(a, b, h):
        fa, fb = -landscape.gradient(a), -landscape.gradient(b)
        middle = -landscape.gradient((a + b) / 2 + h / 8 * (fa - fb))
        return b - a - h / 6 * (fa + 4 * middle + fb)

    def interval(points):
        a, b, h = points
        return defect(a, b, h), *jax.jacfwd(defect, argnums=(0, 1))(a, b, h)

    return jax.lax.map(interval, (path[:-1], path[1:], steps))


class _Ends(eqx.Module):
    """Where the orbit starts and ends: $\\theta_A + E^u_A$ at a fixed distance, and $\\theta_B + E^s_B$."""

    source: np.ndarray
    outside: np.ndarray
    distance: float
    target: np.ndarray
    unstable: np.ndarray

    def residual(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        left = first - self.source
        fixed = (left @ left - self.distance**2) / (2 * self.distance)
        return np.concatenate([self.outside.T @ left, [fixed], self.unstable.T @ (last - self.target)])

    def rows(self, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of the residual in the first and last point."""
        left = (first - self.source) / self.distance
        return np.vstack([self.outside.T, left]), self.unstable.T


def heteroclinic_orbit(connection: Connection, *, intervals: int = 60, tolerance: float = 1e-5) -> HeteroclinicOrbit:
    r"""The orbit between two critical points, from the first guess that a connection is.

    Solves $\dot\theta = -\nabla L$ on a time interval with $\theta(0)$ on the source's unstable eigenspace at the
    distance at which the connection starts, and $\theta(T)$ on the target's stable and null eigenspaces (projection
    boundary conditions): no flow forward in time could end at a saddle. Collocation of order 4; the Newton steps are
    the shortest, as symmetries and families of orbits leave solutions free. The mesh is halved until the tangent agrees
    with −∇L between its points.

    **Arguments:** `connection`: from a strict saddle, by `follow`; `intervals`: of the first mesh; `tolerance`: of the
    angle between tangent and −∇L, in radians.

    **Raises:** `ValueError` for a source without unstable eigenvectors, and for too many unknowns.

    Source: Beyn (1990), "The numerical computation of connecting orbits in dynamical systems".
    """
    source, kind, target = connection.start, connection.escape_direction.kind, connection.end
    spectral = kind.spectrum
    if spectral is None or spectral.index == 0:
        raise ValueError(f"the source must be a strict saddle, with an unstable eigenspace; it is a {kind.name}.")
    if source.theta.size * intervals > MOST_UNKNOWNS:
        raise ValueError(
            f"{source.theta.size} parameters on {intervals} intervals are more than {MOST_UNKNOWNS} unknowns: reduce "
            "the network to the width of the orbit first."
        )
    landscape = reduced_landscape(source.landscape)
    times, path = _first_guess(landscape, connection, intervals)
    outside = spectral.eigenvectors[:, spectral.index :]
    distance = float(np.linalg.norm(connection.path[0] - source.theta))
    edges = source.theta, outside, distance

    def towards(end: np.ndarray, times: np.ndarray, path: np.ndarray):
        there = spectrum(landscape, end)
        ends = _Ends(*edges, end, there.eigenvectors[:, : there.index])
        path, defect = _solve(landscape, times, path, ends)
        end = solve_gradient(landscape, path[-1])
        return path, end, float(np.linalg.norm(ends.residual(path[0], path[-1])[: outside.shape[1]]) + defect)

    def on_mesh(times: np.ndarray, path: np.ndarray, end: np.ndarray):
        # Twice, since the orbit may end elsewhere on the target's manifold than where the first guess did.
        path, end, _ = towards(end, times, path)
        path, end, rest = towards(end, times, path)
        spline = scipy.interpolate.CubicHermiteSpline(times, path, -landscape.values_and_gradients(path)[1])
        return path, end, spline, _angle(landscape, spline), rest

    path, end, spline, angle, rest = on_mesh(times, path, target.theta)
    for _ in range(HALVINGS):
        if angle <= tolerance or path.size * 2 > MOST_UNKNOWNS:
            break
        times = np.sort(np.concatenate([times, (times[1:] + times[:-1]) / 2]))
        path, end, spline, angle, rest = on_mesh(times, spline(times), end)
    gap = rest / float(np.linalg.norm(end - source.theta))
    losses = landscape.values_and_gradients(path)[0]
    arc = distance + _arc(spline)
    found = times, path, losses, arc
    return HeteroclinicOrbit(source.theta, end, connection.rate, *found, angle, gap, bool(angle <= tolerance))


def _first_guess(landscape: Landscape, connection: Connection, intervals: int):
    """The connection up to the cut, on a mesh that is even in the mean of time and arc length."""
    distances = np.linalg.norm(connection.path - connection.end.theta, axis=1)
    last = int(np.argmax(distances <= CUT * distances[0])) or len(distances) - 1
    times, path = connection.times[: last + 1], connection.path[: last + 1]
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    monitor = times / times[-1] + arc / arc[-1]
    mesh = np.interp(np.linspace(0, 2, intervals + 1), monitor, times)
    mesh[0], mesh[-1] = times[0], times[-1]
    return mesh, scipy.interpolate.CubicHermiteSpline(times, path, -landscape.values_and_gradients(path)[1])(mesh)


def _solve(landscape: Landscape, times, path, ends: _Ends) -> tuple[np.ndarray, float]:
    """Newton's iteration with steps of least norm; returns the path and its largest defect."""
    steps, scale = np.diff(times), np.linalg.norm(ends.target - ends.source)
    best, least = path, np.inf
    for _ in range(STEPS):
        defects, left, right = _collocation(landscape, path, steps)
        residual = np.concatenate([defects.ravel(), ends.residual(path[0], path[-1])])
        size = float(np.max(np.abs(residual)))
        if not np.isfinite(size) or size > 10 * least:
            break
        if size < least:
            best, least = path, size
        if size <= SOLVED * scale:
            break
        path = path - _least_norm(left, right, ends.rows(path[0]), residual).reshape(path.shape)
    return best, least


def _least_norm(left: np.ndarray, right: np.ndarray, boundary, residual: np.ndarray) -> np.ndarray:
    r"""The shortest x with $Jx = r$, from $\begin{pmatrix} 1 & J^\top \\ J & -\mu \end{pmatrix}$."""
    count, n = left.shape[:2]
    rows, columns = (grid.ravel() for grid in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    offsets = n * np.arange(count)[:, None]
    entries = np.concatenate([left.reshape(count, -1).ravel(), right.reshape(count, -1).ravel()])
    place = (
        np.tile((offsets + rows).ravel(), 2),
        np.concatenate([(offsets + columns).ravel(), (offsets + n + columns).ravel()]),
    )
    sp = scipy.sparse
    inner = sp.csr_matrix((entries, place), shape=(count * n, (count + 1) * n))
    first, last = boundary
    edge = sp.lil_matrix((len(first) + len(last), (count + 1) * n))
    edge[: len(first), :n] = first
    if len(last):
        edge[len(first) :, -n:] = last
    jacobian = sp.vstack([inner, edge]).tocsr()
    equations, unknowns = count * n + len(first) + len(last), (count + 1) * n
    size = float(np.max(np.abs(jacobian.data)))
    damping = -DAMPING * size * sp.identity(equations)
    system = sp.bmat([[sp.identity(unknowns), jacobian.T], [jacobian, damping]]).tocsc()
    return sp.linalg.splu(system).solve(np.concatenate([np.zeros(unknowns), residual]))[:unknowns]


def _angle(landscape: Landscape, spline: "CubicHermiteSpline") -> float:
    """The largest angle between tangent and −∇L at the quarters of the mesh's intervals, where nothing was imposed."""
    times = spline.x
    quarters = np.sort(np.concatenate([times[:-1] + share * np.diff(times) for share in (0.25, 0.75)]))
    tangents, slopes = spline(quarters, 1), -landscape.values_and_gradients(spline(quarters))[1]
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (tangents, slopes)]
    # The chord between unit vectors: arccos cannot see small angles.
    return float(np.max(2 * np.arcsin(np.minimum(np.linalg.norm(units[0] - units[1], axis=1) / 2, 1.0))))


def _arc(spline: "CubicHermiteSpline") -> np.ndarray:
    """Arc length from the first point, by Gauss's rule of four points on every interval."""
    nodes, weights = np.polynomial.legendre.leggauss(4)
    steps = np.diff(spline.x)
    points = spline.x[:-1, None] + steps[:, None] * (nodes + 1) / 2
    speeds = np.linalg.norm(spline(points.ravel(), 1), axis=1).reshape(points.shape)
    return np.concatenate([[0.0], np.cumsum(speeds @ weights * steps / 2)])
