"""The flow as a boundary-value problem: collocation of order 4, and Newton steps of least norm.

Not SciPy's `solve_bvp`, which needs as many boundary conditions as unknowns: symmetries and families of critical points
leave orbits free, and of all solutions the one nearest to the guess is wanted.
"""

from typing import Any

import equinox as eqx
import jax
import numpy as np
import scipy
from jaxtyping import Array, Float

from ...flows import Landscape
from ...flows.compilation.traced import compiled

# Intervals whose defects are computed in one call.
BLOCK = 20
# Newton steps; each solve starts near a solution and converges quadratically.
STEPS = 25
# Defects below this share of the distance between the ends are rounding.
SOLVED = 1e-12
# An iteration whose residual exceeds this many times the least one has diverged.
DIVERGED = 10
# Tikhonov's weight in the Newton step: directions that the problem does not determine stay as they are.
DAMPING = 1e-13


class Ends(eqx.Module):
    r"""Where the orbit starts and ends: on $\theta_A + E^u_A$ at a fixed distance, and on $\theta_B + E^s_B$.

    Attributes:
        source: $\theta_A$.
        outside: orthonormal columns, the complement of the source's unstable eigenspace.
        distance: from the source, at which the orbit starts.
        target: $\theta_B$.
        unstable: orthonormal columns, the target's unstable eigenspace, in which the end has no component.
    """

    source: Float[np.ndarray, " n"]
    outside: Float[np.ndarray, "n s"]
    distance: float
    target: Float[np.ndarray, " n"]
    unstable: Float[np.ndarray, "n u"]

    def residual(self, first: Float[np.ndarray, " n"], last: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
        """The residual of the boundary conditions at the two ends of a path."""
        start = first - self.source
        fixed = (start @ start - self.distance**2) / (2 * self.distance)
        return np.concatenate([self.outside.T @ start, [fixed], self.unstable.T @ (last - self.target)])

    def rows(self, first: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, "a n"], Float[np.ndarray, "u n"]]:
        """Derivatives of the residual in the first and last point."""
        start = (first - self.source) / self.distance
        return np.vstack([self.outside.T, start]), self.unstable.T


def collocation(
    landscape: Landscape, path: Float[np.ndarray, "P n"], steps: Float[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, "N n"], Float[np.ndarray, "N n n"], Float[np.ndarray, "N n n"]]:
    """Lobatto's collocation of order 4: the defect of every interval, and its derivatives in both ends."""
    count = len(steps)
    # Padded with intervals of length zero, so that one program serves any number.
    padded = np.concatenate([path, np.repeat(path[-1:], -count % BLOCK, axis=0)])
    steps = np.pad(steps, (0, -count % BLOCK))
    blocks = [_defects(landscape, padded[k : k + BLOCK + 1], steps[k : k + BLOCK]) for k in range(0, count, BLOCK)]
    defects, left, right = (np.concatenate(parts)[:count] for parts in zip(*blocks, strict=True))
    return defects, left, right


@compiled
def _defects(
    landscape: Landscape, path: Float[Any, "P n"], steps: Float[Any, " N"]
) -> tuple[Float[Array, "N n"], Float[Array, "N n n"], Float[Array, "N n n"]]:
    """The defects of consecutive intervals, and their derivatives in both ends."""

    def defect(a: Array, b: Array, h: Array) -> Array:
        fa, fb = -landscape.gradient(a), -landscape.gradient(b)
        middle = -landscape.gradient((a + b) / 2 + h / 8 * (fa - fb))
        return b - a - h / 6 * (fa + 4 * middle + fb)

    def interval(points: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        a, b, h = points
        return defect(a, b, h), *jax.jacfwd(defect, argnums=(0, 1))(a, b, h)

    return jax.lax.map(interval, (path[:-1], path[1:], steps))


def solve_orbit(
    landscape: Landscape, times: Float[np.ndarray, " P"], path: Float[np.ndarray, "P n"], ends: Ends
) -> tuple[Float[np.ndarray, "P n"], float]:
    """Newton's iteration with steps of least norm.

    Args:
        landscape: whose gradient flow it is.
        times: of the mesh.
        path: the first guess at these times.
        ends: the boundary conditions.

    Returns:
        The path with the smallest residual, and the largest entry of that.
    """
    steps, scale = np.diff(times), np.linalg.norm(ends.target - ends.source)
    best, least = path, np.inf
    for _ in range(STEPS):
        defects, left, right = collocation(landscape, path, steps)
        residual = np.concatenate([defects.ravel(), ends.residual(path[0], path[-1])])
        size = float(np.max(np.abs(residual)))
        if not np.isfinite(size) or size > DIVERGED * least:
            break
        if size < least:
            best, least = path, size
        if size <= SOLVED * scale:
            break
        path = path - _least_norm(left, right, ends.rows(path[0]), residual).reshape(path.shape)
    return best, least


def _least_norm(
    left: Float[np.ndarray, "N n n"],
    right: Float[np.ndarray, "N n n"],
    boundary: tuple[Float[np.ndarray, "a n"], Float[np.ndarray, "u n"]],
    residual: Float[np.ndarray, " m"],
) -> Float[np.ndarray, " k"]:
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
