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

    - `directions`: unit vectors of the unstable eigenspace, one for each flow; `times`: common to all;
    - `paths`: θ of each flow at these times, starting at a small distance from the saddle; `losses`: there.
    - `landscape`: on which they are.
    """

    directions: Float[np.ndarray, "k n"]
    times: Float[np.ndarray, " T"]
    paths: Float[np.ndarray, "k T n"]
    losses: Float[np.ndarray, "k T"]
    landscape: Landscape

    def model(self, flow: int, time: int = -1) -> Any:
        """The model on flow number `flow` at saved time number `time`."""
        return self.landscape.at(self.paths[flow, time])


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

    The directions are even on the unit sphere of the eigenvectors of all eigenvalues λ with −λ within `rates`. A flow
    starts at $\theta^* + \delta d$, $\delta = 10^{-3}\,size$, so that it is on the unstable manifold up to δ².

    **Arguments:** `point`: a strict saddle; `times`: increasing, from 0 on; `kind`: the saddle's `kind`, determined
    if not given; `count`: of flows; `rates`: of the eigenspaces to leave along; `size`: of the weights at full use;
    `rtol`; `seed`.

    **Raises:** `ValueError` where there is no such eigenvalue, and for times that do not increase.
    """
    times = np.asarray(times, float)
    if times.ndim != 1 or len(times) < 2 or times[0] < 0 or not np.all(np.diff(times) > 0):
        raise ValueError("times must be at least two increasing numbers, none of them negative.")
    kind = classify(point) if kind is None else kind
    spectral = kind.spectrum
    unstable = np.zeros(0, bool) if spectral is None else spectral.eigenvalues < -spectral.zero_threshold
    if spectral is not None:
        unstable &= (-spectral.eigenvalues >= rates[0]) & (-spectral.eigenvalues <= rates[1])
    if spectral is None or not np.any(unstable):
        raise ValueError(f"no unstable eigenvalue −λ lies within {rates}; the point is a {kind.name}.")
    basis = spectral.eigenvectors[:, unstable]
    directions = np.random.default_rng(seed).standard_normal((count, basis.shape[1])) @ basis.T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    landscape, starts = reduced_landscape(point.landscape), point.theta + DISPLACEMENT * size * directions
    tolerances = np.array([rtol, rtol * DISPLACEMENT * size])
    paths, losses = map(np.asarray, _integrate(landscape, starts, times, tolerances))
    return ManifoldSample(directions, times, paths, losses, landscape)


@compiled
def _integrate(landscape: Landscape, starts: Float[Array, "k n"], times: Float[Any, " T"], tolerances):
    rtol, atol = tolerances

    def single(start):
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
            # A failed flow holds infinities from where it failed on, and leaves the others alone.
            throw=False,
        )
        return solution.ys, jax.vmap(landscape.value)(solution.ys)

    return jax.vmap(single)(starts)
