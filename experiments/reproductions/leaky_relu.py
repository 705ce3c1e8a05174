"""Leaky ReLU networks on symmetric data are slowed linear networks."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from ...analysis.figures.style import COLOURS
from ...flows import Trajectory, mean_squared_error, simulate
from ...models import Dense, TwoLayer, incoming, leaky_relu, linear, outgoing
from ...models.units import with_units
from ..data.synthetic import Pair, gaussian_inputs
from .check import at_most, close
from .panel import Panel, Reproduction
from .plateau_times import seed_key

SOURCE = "Zhang, Saxe & Latham (2025), “When are bias-free ReLU networks effectively linear networks?”"
SLOPES = (0.0, 0.25, 0.5)
# Of the linear network, and the shares of it at which losses are compared.
HORIZON, TIMES = 20.0, np.linspace(0.02, 1.0, 80)
Curve = Float[np.ndarray, "2 T"]


def _data(samples: int = 100) -> Pair:
    """Inputs in pairs ±x and an odd, linear target, so that the residual of an odd network is odd."""
    half = gaussian_inputs(samples // 2, np.diag([1.0, 0.36]), key=jax.random.key(7))
    x = np.concatenate([half, -half])
    return jax.device_put((x, x @ np.array([[1.0], [-0.5]])))


def _paired(architecture: Dense, *, width: int, scale: float, key: PRNGKeyArray) -> TwoLayer:
    """Units in pairs (u, v), (−u, −v): the even parts of their outputs cancel, at all times."""
    model = TwoLayer(architecture, width=width, scale=scale, key=key)
    u, v = incoming(model)[: width // 2], outgoing(model)[: width // 2]
    return with_units(model, np.concatenate([u, -u]), np.concatenate([v, -v]))


def _flow(model: TwoLayer, data: Pair, slowing: float, rtol: float | None) -> tuple[Trajectory, Curve]:
    """The flow to the horizon over `slowing`, and its times and losses over the initial one."""
    ts = HORIZON / slowing * TIMES
    flow = simulate(model, mean_squared_error, data, t1=HORIZON / slowing, rtol=rtol, save_times=ts)
    return flow, np.stack([ts, flow.losses[np.searchsorted(flow.ts, ts)] / flow.losses[0]])


def _panel(paired: bool, seeds: int) -> Panel:
    r"""$L^{leaky}(t) = L^{linear}(ct)$, c = (1 + slope)/2, with weights $c^{-1/2}$ times as large.

    For an odd residual e and symmetric inputs $E[e\, \sigma(u \cdot x)] = c\, E[e\, u \cdot x]$, so that
    $W^{leaky}(t) = c^{-1/2} W^{linear}(ct)$ as long as f is odd: exactly for paired units, and up to what random small
    weights leave of $\sum_i v_i |u_i \cdot x|$ otherwise.

    Returns:
        The panel.
    """
    data = _data()
    # Of random units the error is that of the theorem's assumption, not of the integrator.
    width, scale, rtol = (20, 1e-4, None) if paired else (50, 1e-6, 1e-7)
    errors, sizes, drawn = {slope: [] for slope in SLOPES}, [], {}
    for seed in range(seeds):
        make = _paired if paired else TwoLayer
        straight = make(Dense(linear, inputs=2), width=width, scale=scale, key=seed_key(seed))
        slow, drawn["linear"] = _flow(straight, data, 1.0, rtol)
        for slope in SLOPES:
            c = (1 + slope) / 2
            model = TwoLayer(Dense(leaky_relu(slope), inputs=2), width=width, scale=1.0, key=seed_key(seed))
            model = with_units(model, incoming(straight) / np.sqrt(c), outgoing(straight) / np.sqrt(c))
            flow, curve = _flow(model, data, c, rtol)
            errors[slope].append(float(np.max(np.abs(curve[1] - drawn["linear"][1]))))
            drawn[f"slope {slope:g}"] = curve
            if slope == 0:
                sizes.append(float(np.linalg.norm(flow.thetas[-1]) / np.linalg.norm(slow.thetas[-1])))
    # Random weights of 50 units leave even parts of a share 1/√50 of each ray, which dies out as rays form.
    bound, tolerance = (1e-7, 1e-6) if paired else (0.25, 0.05)
    checks = [
        at_most(f"slope {slope:g}: largest |L(t) − L_linear(ct)| / L(0)", bound, max(errors[slope])) for slope in SLOPES
    ]
    checks.append(close("slope 0: final weights / linear ones", np.sqrt(2), sizes[0], relative=tolerance))
    title = "paired units" if paired else "random units"
    return Panel(title=title, draw=lambda ax: _draw(ax, drawn), data=drawn, checks=tuple(checks))


def _draw(ax: Any, drawn: dict[str, Curve]) -> None:
    for k, (name, (ts, losses)) in enumerate(drawn.items()):
        ax.plot(ts, losses, color=COLOURS[k], lw=1.3, label=name)
        if name != "linear":
            c = (1 + float(name.split()[1])) / 2
            ax.plot(drawn["linear"][0] / c, drawn["linear"][1], ":", color="k", lw=1, label=None)
    ax.set(xlabel="time t", ylabel="loss / initial loss")
    ax.legend(fontsize=7, title="dotted: linear, slowed", title_fontsize=7)


def _make(seeds: int, quick: bool) -> tuple[Panel, ...]:
    return _panel(True, 1), _panel(False, seeds)


REPRODUCTIONS = (
    Reproduction(
        name="leaky-ReLU",
        title="leaky ReLU on symmetric data is a slowed linear network",
        source=SOURCE,
        make=_make,
        seeds=3,
    ),
)
