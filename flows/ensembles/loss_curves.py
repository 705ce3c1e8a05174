"""Loss curves of many flows of one shape, integrated together: over seeds, scales or data."""

from collections.abc import Callable, Sequence
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..landscapes.landscape import Landscape
from ..landscapes.parameters import flatten

# Steps of a single flow, of which none may take more.
MAX_STEPS = 10**6


class LossCurves(eqx.Module):
    r"""Loss curves of several gradient flows.

    Attributes:
        ts: times of each flow, one row per flow.
        losses: losses at these times; infinite from where a flow failed.
        speeds: speeds $\|\nabla L\|$ at these times; infinite from where a flow failed.
    """

    ts: Float[np.ndarray, "B T"]
    losses: Float[np.ndarray, "B T"]
    speeds: Float[np.ndarray, "B T"]

    def __len__(self) -> int:
        return len(self.ts)

    def __getitem__(self, index: Any) -> "LossCurves":
        """The curves of some of the flows, as NumPy selects rows."""
        return jax.tree.map(lambda array: array[index], self)

    def __str__(self) -> str:
        finite = np.isfinite(self.losses[:, -1])
        lines = [f"loss curves of {len(self)} gradient flow{'s' * (len(self) != 1)}, {self.ts.shape[1]} times each"]
        lines.append(f"  to t = {_span(self.ts[:, -1])}")
        if finite.any():
            lines.append(f"  loss {_span(self.losses[:, 0])} → {_span(self.losses[finite, -1])}")
        if not finite.all():
            lines.append(f"  {np.sum(~finite)} failed")
        return "\n".join(lines)


def _span(values: Float[np.ndarray, " B"]) -> str:
    least, most = f"{np.min(values):.4g}", f"{np.max(values):.4g}"
    return least if least == most else f"{least} to {most}"


def loss_curves(
    models: Sequence[Any],
    loss: Callable[[Any, Any], Any],
    data: Sequence[Any],
    ts: Float[np.ndarray, "B T"],
    *,
    rtol: float = 1e-8,
    until: float | None = None,
) -> LossCurves:
    r"""Integrates many gradient flows of one shape together, by Tsit5, and records their loss curves.

    The batched program takes as many steps as the slowest flow, but each of them for the price of a batch; losses and
    speeds come from the solver's interpolant. Where single flows matter, use `simulate`.

    Args:
        models: the initial models, all of one structure and shape. Networks of several widths fit into one ensemble if
            zero units fill them up.
        loss: scalar function of (model, data).
        data: the data of each model, all of the same shapes.
        ts: increasing times from 0 on, one row per flow.
        rtol: relative tolerance per step; the absolute one is rtol times the root mean square of each flow's non-zero
            initial weights. The default leaves errors of about 1e-6, well below the spread over seeds.
        until: share of the initial loss at which a flow is stopped and stays, since converged flows are stiff and cost
            as many steps as fast transitions; `None`: integrate all to the end.

    Returns:
        The loss curves; those of a flow that failed are infinite from there on, and leave the others alone.
    """
    thetas = np.stack([flatten(model) for model in models])
    stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *data)
    sizes = np.array([np.sqrt(np.mean(theta[theta != 0] ** 2)) for theta in thetas])
    share = None if until is None else np.asarray(until, ts.dtype)
    columns = _curves(Landscape(models[0], loss, data[0]), thetas, stacked, ts, rtol, rtol * sizes, share)
    losses, speeds = (np.array(column) for column in columns)
    if until is not None:
        for row, speed in zip(losses, speeds, strict=True):
            ended = ~np.isfinite(row)
            row[ended], speed[ended] = row[~ended][-1], 0.0
    return LossCurves(ts=np.asarray(ts), losses=losses, speeds=speeds)


@eqx.filter_jit
def _curves(
    whole: Landscape,
    thetas: Float[Any, "B n"],
    data: Any,
    ts: Float[Any, "B T"],
    rtol: float,
    atols: Float[Any, " B"],
    until: Float[Any, ""] | None,
) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
    """Losses and speeds along flows on a landscape with each one's own data."""

    def record(landscape: Landscape, theta: Array) -> Any:
        loss, gradient = landscape.value_and_gradient(theta)
        return loss, jnp.linalg.norm(gradient)

    def curve(theta: Array, data: Any, ts: Any, atol: Array) -> Any:
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
            stepsize_controller=dfx.PIDController(rtol=rtol, atol=atol),
            event=done,
            max_steps=MAX_STEPS,
            throw=False,
        )
        assert solution.ys is not None  # as saveat asks for it
        return solution.ys

    return jax.vmap(curve)(thetas, data, ts, atols)
