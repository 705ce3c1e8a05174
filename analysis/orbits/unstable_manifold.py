"""The unstable manifold of a saddle, sampled by flows that leave it in many directions at once."""

from collections.abc import Sequence
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...flows import Landscape
from ...flows.compilation.traced import compiled
from ...flows.losses.statistics import reduced_landscape
from ..critical_points.classify import classify
from ..critical_points.critical_point import CriticalPoint
from ..critical_points.kind import Kind
from .connections import DISPLACEMENT


class ManifoldSample(eqx.Module):
    r"""Flows on the unstable manifold of a saddle.

    Attributes:
        directions: unit vectors of the unstable eigenspace, one for each flow.
        times: common to all flows.
        paths: θ of each flow at these times, starting at a small distance from the saddle.
        losses: of each flow at these times.
        landscape: whose gradient flow it is.
    """

    directions: Float[np.ndarray, "k n"]
    times: Float[np.ndarray, " T"]
    paths: Float[np.ndarray, "k T n"]
    losses: Float[np.ndarray, "k T"]
    landscape: Landscape

    def model(self, flow: int, time: int = -1) -> Any:
        """The model on flow number `flow` at saved time number `time`."""
        return self.landscape.at(self.paths[flow, time])

    def __str__(self) -> str:
        start, ends = np.max(self.losses[:, 0]), self.losses[:, -1]
        return (
            f"unstable manifold of dimension {np.linalg.matrix_rank(self.directions)} at most, sampled by "
            f"{len(self.directions)} flows\n"
            f"  times: {self.times[0]:.4g} to {self.times[-1]:.4g}, {len(self.times)} of them\n"
            f"  loss: from {start:.6g} down to between {np.min(ends):.6g} and {np.max(ends):.6g}"
        )


def unstable_manifold(
    point: CriticalPoint,
    times: Sequence[float] | Float[np.ndarray, " T"],
    *,
    kind: Kind | None = None,
    count: int = 16,
    rates: tuple[float, float] = (0.0, np.inf),
    size: float = 1.0,
    rtol: float = 1e-8,
    seed: int = 0,
) -> ManifoldSample:
    r"""Flows from a saddle in random directions of its unstable eigenspace, all integrated together.

    The directions are uniform on the unit sphere of the eigenvectors of all eigenvalues λ with −λ within `rates`. A
    flow starts at $\theta^* + \delta d$, $\delta = 10^{-3}\,size$, so that it is on the unstable manifold up to δ².

    Args:
        point: a strict saddle.
        times: at least two, increasing, from 0 on.
        kind: the saddle's `Kind`, determined if not given.
        count: number of flows.
        rates: lowest and highest escape rate −λ of the eigenspaces to leave along.
        size: typical ‖θ‖ after learning.
        rtol: relative tolerance of the flows.
        seed: of the random directions.

    Returns:
        The flows at the given times; infinite from where one failed.

    Raises:
        ValueError: where there is no such eigenvalue, and for times that do not increase.
    """
    times = np.asarray(times, float)
    if times.ndim != 1 or len(times) < 2 or times[0] < 0 or not np.all(np.diff(times) > 0):
        raise ValueError("times must be at least two increasing numbers, none of them negative.")
    kind = classify(point) if kind is None else kind
    spectrum = kind.spectrum
    unstable = np.zeros(0, bool) if spectrum is None else spectrum.eigenvalues < -spectrum.zero_threshold
    if spectrum is not None:
        unstable &= (-spectrum.eigenvalues >= rates[0]) & (-spectrum.eigenvalues <= rates[1])
    if spectrum is None or not np.any(unstable):
        raise ValueError(f"no unstable eigenvalue −λ lies within {rates}; the point is a {kind.name}.")
    basis = spectrum.eigenvectors[:, unstable]
    directions = np.random.default_rng(seed).standard_normal((count, basis.shape[1])) @ basis.T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    landscape, starts = reduced_landscape(point.landscape), point.theta + DISPLACEMENT * size * directions
    tolerances = np.array([rtol, rtol * DISPLACEMENT * size])
    paths, losses = map(np.asarray, _integrate(landscape, starts, times, tolerances))
    return ManifoldSample(directions=directions, times=times, paths=paths, losses=losses, landscape=landscape)


@compiled
def _integrate(
    landscape: Landscape, starts: Float[Any, "k n"], times: Float[Any, " T"], tolerances: Float[Any, "2"]
) -> tuple[Float[Array, "k T n"], Float[Array, "k T"]]:
    """All flows at once; `tolerances` are relative and absolute."""
    rtol, atol = tolerances

    def single(start: Array) -> tuple[Array, Array]:
        solution = dfx.diffeqsolve(
            dfx.ODETerm(lambda t, theta, args: -landscape.gradient(theta)),
            dfx.Tsit5(),
            jnp.zeros(()),
            times[-1],
            None,
            start,
            saveat=dfx.SaveAt(ts=times),
            stepsize_controller=dfx.ClipStepSizeController(dfx.PIDController(rtol=rtol, atol=atol), step_ts=times),
            max_steps=100_000,
            # A failed flow is infinite from there on and does not affect the others.
            throw=False,
        )
        assert solution.ys is not None  # as saveat asks for it
        return solution.ys, jax.vmap(landscape.value)(solution.ys)

    return jax.vmap(single)(starts)
