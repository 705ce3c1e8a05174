"""Many small flows at once: loss curves of a batch of networks, their plateaus, and when they cross levels."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...analysis.visits.passages import closest_approaches
from ...flows import Landscape, flatten, statistics_loss
from ...models import TwoLayer, incoming, outgoing
from ...models.architecture import Architecture
from ...models.units import with_units
from ..data.synthetic import seed_keys

# Errors of times and losses of 1e-6 are far below the spread over seeds.
RTOL = 1e-8


def padded(architecture: Architecture, width: int, scale: Any, room: int, *, key: PRNGKeyArray) -> TwoLayer:
    """A network of `width` random units and as many zero units as fill it up to `room`.

    Zero units stay zero and do not act (Theorem 3 ii), so that networks of several widths make one batch.
    """
    model = TwoLayer(architecture, width=room, scale=1.0, key=key)
    kept = scale * (np.arange(room) < width)[:, None]
    return with_units(model, kept * incoming(model), kept * outgoing(model))


@eqx.filter_jit
def _curves(
    whole: Landscape,
    thetas: Float[Any, "B n"],
    data: Any,
    ts: Float[Any, "B T"],
    atols: Float[Any, " B"],
    until: Float[Any, ""] | None,
) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
    """Losses and speeds along flows on a landscape with each one's own data."""

    def record(landscape: Landscape, theta: Array):
        loss, gradient = landscape.value_and_gradient(theta)
        return loss, jnp.linalg.norm(gradient)

    def curve(theta: Array, data: Any, ts: Any, atol: Array):
        landscape = eqx.tree_at(lambda each: each.data, whole, data)
        done = None
        if until is not None:
            goal = until * landscape.value(theta)
            done = dfx.Event(lambda t, y, args, **_: landscape.value(y) <= goal)
        solution = dfx.diffeqsolve(
            dfx.ODETerm(lambda t, y, args: -landscape.gradient(y)),
            dfx.Tsit5(),
            jnp.zeros((), ts.dtype),
            ts[-1],
            None,
            theta,
            saveat=dfx.SaveAt(ts=ts, fn=lambda t, y, args: record(landscape, y)),
            stepsize_controller=dfx.PIDController(rtol=RTOL, atol=atol),
            event=done,
            max_steps=10**6,
            throw=False,
        )
        assert solution.ys is not None  # as saveat asks for it
        return solution.ys

    return jax.vmap(curve)(thetas, data, ts, atols)


class Curves(eqx.Module):
    """Losses and speeds ‖∇L‖ of several flows at their times; infinite where a flow failed."""

    ts: Float[np.ndarray, "B T"]
    losses: Float[np.ndarray, "B T"]
    speeds: Float[np.ndarray, "B T"]

    @property
    def plateaus(self) -> Int[np.ndarray, " B"]:
        """How many plateaus each flow has between start and end: prominent minima of its speed, as in visits.

        Speeds below 1e-5 of the largest are of the integrator's making, and so is what happens once the loss is within
        1e-6 of its end.
        """
        counts = []
        for losses, speeds in zip(self.losses, self.speeds, strict=True):
            end = int(np.argmax(losses <= losses[-1] + 1e-6 * losses[0]))
            found = closest_approaches(speeds[: end + 1], 1e-5 * np.max(speeds))
            counts.append(np.sum((found > 0) & (found < end)))
        return np.array(counts)


def loss_curves(
    models: list[Any],
    data: list[Any],
    ts: Float[np.ndarray, "B T"],
    loss: Callable = statistics_loss,
    *,
    until: float | None = None,
) -> Curves:
    """Integrates many flows of one shape.

    **Arguments:** `models`, `data`: one per flow, all of the same shapes; `ts`: increasing times from 0, one row per
    flow; `loss`: as for `simulate`; `until`: stop at this share of the initial loss and stay there, since a converged
    flow costs as much as a lively one.
    """
    thetas = np.stack([flatten(model) for model in models])
    stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *data)
    # As in `simulate`: the tolerance follows the small initial weights.
    sizes = np.array([np.sqrt(np.mean(theta[theta != 0] ** 2)) for theta in thetas])
    share = None if until is None else np.asarray(until, ts.dtype)
    columns = _curves(Landscape(models[0], loss, data[0]), thetas, stacked, ts, RTOL * sizes, share)
    losses, speeds = (np.array(column) for column in columns)
    if until is not None:
        for row, speed in zip(losses, speeds, strict=True):
            ended = ~np.isfinite(row)
            row[ended], speed[ended] = row[~ended][-1], 0.0
    return Curves(np.asarray(ts), losses, speeds)


def crossings(
    ts: Float[np.ndarray, "B T"], losses: Float[np.ndarray, "B T"], level: float | Float[np.ndarray, " B"]
) -> Float[np.ndarray, " B"]:
    """When each curve first falls to a level, linearly between its times; NaN where it does not."""
    below = losses <= np.broadcast_to(level, losses.shape[:1])[:, None]
    k = np.maximum(np.argmax(below, axis=1), 1)
    rows = np.arange(len(losses))
    before, after = losses[rows, k - 1], losses[rows, k]
    weight = (before - level) / np.where(before == after, 1.0, before - after)
    found = ts[rows, k - 1] + np.clip(weight, 0.0, 1.0) * (ts[rows, k] - ts[rows, k - 1])
    return np.where(below.any(axis=1), found, np.nan)


class PlateauTimes(eqx.Module):
    """When the drops between given plateaus are half done, and how long each plateau before them lasts.

    One column per drop; a plateau lasts from nine tenths of the drop before it (or time 0) to a tenth of its own.
    """

    middles: Float[np.ndarray, "B L"]
    dwells: Float[np.ndarray, "B L"]


def plateau_times(curves: Curves, levels: Float[np.ndarray, " L+1"], fraction: float = 0.1) -> PlateauTimes:
    """The times of each curve for plateau levels that fall from the first plateau to the end."""

    def times(shares):
        return np.stack([crossings(curves.ts, curves.losses, level) for level in shares], axis=1)

    steps = -np.diff(levels)
    ends, starts = times(levels[:-1] - fraction * steps), times(levels[1:] + fraction * steps)
    arrivals = np.concatenate([np.zeros((len(ends), 1)), starts[:, :-1]], axis=1)
    return PlateauTimes(times(levels[:-1] - steps / 2), ends - arrivals)


def seed_key(seed: int) -> Array:
    """The random key of one seed's initial weights."""
    return seed_keys(seed)[1]
