"""Leaky ReLU networks on symmetric data are slowed linear networks."""

from typing import Any

import jax
import numpy as np

from ...analysis.figures.style import COLOURS
from ...flows import mean_squared_error, simulate
from ...models import Dense, TwoLayer, incoming, leaky_relu, linear, outgoing
from ...models.units import with_units
from ..data.synthetic import Pair, gaussian_inputs
from .check import at_most, close
from .panel import Panel, Reproduction
from .plateau_times import seed_key

SOURCE = "Zhang, Saxe & Latham (2025), “When are bias-free ReLU networks effectively linear networks?”"
SLOPES = (0.0, 0.25, 0.5)
HORIZON = 20.0


def _data(samples: int = 100) -> Pair:
    """Inputs in pairs ±x and an odd, linear target, so that the residual of an odd network is odd."""
    half = gaussian_inputs(samples // 2, np.diag([1.0, 0.36]), key=jax.random.key(7))
    x = np.concatenate([half, -half])
    return jax.device_put((x, x @ np.array([[1.0], [-0.5]])))


def _paired(architecture: Dense, width: int, scale: float, seed: int) -> TwoLayer:
    """Units in pairs (u, v), (−u, −v): the even parts of their outputs cancel, at all times."""
    model = TwoLayer(architecture, width=width, scale=scale, key=seed_key(seed))
    u, v = incoming(model)[: width // 2], outgoing(model)[: width // 2]
    return with_units(model, np.concatenate([u, -u]), np.concatenate([v, -v]))


def _panel(paired: bool, seeds: int) -> Panel:
    r"""$L^{leaky}(t) = L^{linear}(ct)$, c = (1 + slope)/2, with weights $c^{-1/2}$ times as large.

    For an odd residual e and symmetric inputs $E[e\, \sigma(u \cdot x)] = c\, E[e\, u \cdot x]$, so that
    $W^{leaky}(t) = c^{-1/2} W^{linear}(ct)$ as long as f is odd: exactly for paired units, and up to what random small
    weights leave of $\sum_i v_i |u_i \cdot x|$ otherwise.

    Returns:
        The panel.
    """
    data, times = _data(), np.linspace(0.02, 1.0, 80)
    # Of random units the error is that of the theorem's assumption, not of the integrator.
    width, scale, rtol = (20, 1e-4, None) if paired else (50, 1e-6, 1e-7)
    errors, sizes, drawn = {slope: [] for slope in SLOPES}, [], {}
    for seed in range(1 if paired else seeds):
        straight = (
            _paired(Dense(linear, inputs=2), width, scale, seed)
            if paired
            else TwoLayer(Dense(linear, inputs=2), width=width, scale=scale, key=seed_key(seed))
        )
        slow = simulate(straight, mean_squared_error, data, t1=HORIZON, rtol=rtol, save_times=HORIZON * times)
        reference = slow.losses[np.searchsorted(slow.ts, HORIZON * times)] / slow.losses[0]
        drawn["linear"] = np.stack([HORIZON * times, reference])
        for slope in SLOPES:
            c = (1 + slope) / 2
            model = TwoLayer(Dense(leaky_relu(slope), inputs=2), width=width, scale=1.0, key=seed_key(seed))
            model = with_units(model, incoming(straight) / np.sqrt(c), outgoing(straight) / np.sqrt(c))
            flow = simulate(model, mean_squared_error, data, t1=HORIZON / c, rtol=rtol, save_times=HORIZON / c * times)
            losses = flow.losses[np.searchsorted(flow.ts, HORIZON / c * times)] / flow.losses[0]
            errors[slope].append(float(np.max(np.abs(losses - reference))))
            drawn[f"slope {slope:g}"] = np.stack([HORIZON / c * times, losses])
            if slope == 0:
                sizes.append(float(np.linalg.norm(flow.thetas[-1]) / np.linalg.norm(slow.thetas[-1])))
    # Random weights of 50 units leave even parts of a share 1/√50 of each ray, which dies out as rays form.
    bound = 1e-7 if paired else 0.25
    checks = [
        at_most(f"slope {slope:g}: largest |L(t) − L_linear(ct)| / L(0)", bound, max(errors[slope])) for slope in SLOPES
    ]
    checks.append(
        close("slope 0: final weights / linear ones", np.sqrt(2), sizes[0], relative=1e-6 if paired else 0.05)
    )

    def draw(ax: Any) -> None:
        for k, (name, (ts, losses)) in enumerate(drawn.items()):
            ax.plot(ts, losses, color=COLOURS[k], lw=1.3, label=name)
            if name != "linear":
                c = (1 + float(name.split()[1])) / 2
                ax.plot(drawn["linear"][0] / c, drawn["linear"][1], ":", color="k", lw=1, label=None)
        ax.set(xlabel="time t", ylabel="loss / initial loss")
        ax.legend(fontsize=7, title="dotted: linear, slowed", title_fontsize=7)

    return Panel("paired units" if paired else "random units", draw, drawn, tuple(checks))


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
