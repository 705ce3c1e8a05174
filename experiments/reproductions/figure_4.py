"""Figure 4: other activations, by the lowest Taylor order of a unit's output in its incoming weights."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float

from ...analysis import plot_units
from ...flows import Landscape, gaussian_loss, mean_squared_error
from ...models import Activation, Dense, TwoLayer, UnitLaw, cubic, incoming, outgoing, sigmoid, sine, tanh, x_tanh_x
from ...models.units import with_units
from ..data.synthetic import Pair
from ..setups.figure_4 import DIRECTIONS, SAMPLES, teacher, teacher_data
from .check import at_least, at_most, close, equal
from .figure_4_softmax import softmax_panel
from .panel import Panel, Reproduction
from .plateau_times import seed_key
from .staircase import Staircase, cosine, growth_rate, staircase

SOURCE = "Zhang, Saxe & Latham (2025), Figure 4"
QUICK_SAMPLES = 1024
FIRST, SECOND = DIRECTIONS, np.eye(2)


# The paper's formulas of E and H are not legible in the sources that we have; these have their orders.
@cache
def _one_minus_cosine() -> Activation:
    # Not at import: values of the function are compared with its law, which takes seconds to compile.
    return Activation("1-cos", lambda z: 1 - jnp.cos(z), law=UnitLaw(zero=True, order=2))


@cache
def _square_tanh() -> Activation:
    return Activation("z²tanh", lambda z: z**2 * jnp.tanh(z), law=UnitLaw(zero=True, order=3))


def _sample(activation: Activation, directions: Float[np.ndarray, "2 2"], samples: int) -> Pair:
    return teacher_data(activation, directions, samples, jax.random.key(11))


def _drawn(
    stairs: Staircase, model: TwoLayer, levels: Sequence[float] = (1.0,), end: float | None = None
) -> Callable[[Any], None]:
    """Loss curve, with the incoming weights of a model in its empty corner."""

    def draw(ax: Any) -> None:
        stairs.draw(ax, levels)
        if end is not None:
            ax.set_xlim(0, end)
        plot_units(model, number=1, ax=ax.inset_axes((0.56, 0.5, 0.42, 0.46))).set(xlabel="", ylabel="")

    return draw


def _zeroth_order_panel(letter: str, samples: int) -> Panel:
    r"""φ(0) ≠ 0: the outgoing weights learn the mean at once, without a plateau.

    $f = \tfrac12 \sum_i v_i$ obeys $\dot f = -\tfrac H2 (f - \bar y)$.

    Returns:
        The panel.
    """
    width = 50
    data = _sample(sigmoid, FIRST, samples)
    model = TwoLayer(Dense(sigmoid, inputs=2), width=width, scale=1e-6, key=seed_key(0))
    times = np.linspace(0, 5 / width, 101)[1:]
    stairs = staircase(model, mean_squared_error, data, 5.0, save_times=times)
    y = np.asarray(data[1])
    mean = float(np.mean(y) ** 2 / np.mean(y**2))
    early = stairs.flow.ts <= times[-1]
    expected = 1 - mean + mean * np.exp(-width * stairs.flow.ts[early])
    found = stairs.flow.losses[early] / stairs.flow.losses[0]
    checks = (
        close("time to lose half of the mean's share", np.log(2) / width, stairs.time_to(1 - mean / 2), relative=0.02),
        at_most("largest |L(t) − closed form| / L(0), t ≤ 5/H", 0.01, float(np.max(np.abs(found - expected)))),
    )
    draw = _drawn(stairs, stairs.flow.final_model, (1.0, 1 - mean), 5.0)
    return Panel(title=f"{letter} sigmoid, order 0", draw=draw, data=stairs.data, checks=checks)


def _first_order_panel(letter: str, activation: Activation, samples: int) -> Panel:
    r"""Rank-one weights until the first drop, along and at the rate of $\Sigma_{yx}$; then theory is silent.

    Near zero φ = σ'(0) u·x, so that the network is a linear one with $\|\Sigma_{yx}\|$ as its only mode: with the mean
    squared error $u \propto \Sigma_{yx} e^{2 \|\Sigma_{yx}\| t}$.

    Returns:
        The panel.
    """
    data = _sample(activation, FIRST, samples)
    model = TwoLayer(Dense(activation, inputs=2), width=50, scale=1e-6, key=seed_key(0))
    stairs = staircase(model, mean_squared_error, data, 40.0)
    cross = np.asarray(data[1][:, 0] @ data[0]) / samples
    drop = int(np.argmax(stairs.flow.losses <= 0.9 * stairs.flow.losses[0]))
    dropping = stairs.flow.model_at_index(drop)
    u = np.asarray(incoming(dropping))
    sizes = np.linalg.svd(u, compute_uv=False)
    # From a hundred times the initial weights to a hundredth of those at the drop everything is linear.
    norms = np.linalg.norm(stairs.flow.thetas, axis=1)
    rate = growth_rate(stairs.flow.ts, norms, 100 * norms[0], 0.01 * norms[drop])
    checks = (
        at_most("σ₂ / σ₁ of the incoming weights at the first drop", 0.05, sizes[1] / sizes[0]),
        close("cosine of their direction with Σ_yx", 1.0, cosine(u, cross), absolute=1e-3),
        close("growth rate before it", float(2 * np.linalg.norm(cross)), rate, relative=0.02),
        at_least("time to lose 10 %", 1.0, stairs.time_to(0.9)),
    )
    title = f"{letter} {activation.name}, order 1"
    return Panel(title=title, draw=_drawn(stairs, dropping), data=stairs.data, checks=checks)


def _single_unit_level(model: TwoLayer, data: Pair) -> float:
    """The loss at the fixed point of a network of one unit, from the largest unit of a model."""
    u, v = np.asarray(incoming(model)), np.asarray(outgoing(model))
    largest = int(np.argmax(np.linalg.norm(u, axis=1)))
    single = TwoLayer(model.architecture, width=1, scale=1.0, key=jax.random.key(0))
    single = Landscape(with_units(single, u[[largest]], v[[largest]]), mean_squared_error, data)
    return float(scipy.optimize.minimize(single.value_and_gradient, single.theta, jac=True, method="BFGS").fun)


def _higher_order_panel(
    letter: str,
    activation: Activation,
    directions: Float[np.ndarray, "2 2"],
    scale: float,
    horizon: float,
    samples: int,
) -> Panel:
    """Units grow one by one: one large unit on the plateau, at the level of a network of one unit, two at the end."""
    data = _sample(activation, directions, samples)
    model = TwoLayer(Dense(activation, inputs=2), width=10, scale=scale, key=seed_key(0))
    stairs = staircase(model, mean_squared_error, data, horizon)
    single = _single_unit_level(stairs.model(1), data) / stairs.flow.losses[0]
    checks = (
        equal("effective widths, first three visits", (0, 1, 2), stairs.widths[:3]),
        close("first plateau / initial loss", single, float(stairs.fractions[1]), absolute=0.01),
    )
    title = f"{letter} {activation.name}, order {activation.law.order}"
    note = ""
    if stairs.widths[1:3] == (1, 1):
        note = (
            f"The first unit passes a saddle of the network of one unit, at {stairs.fractions[1]:.3g}, before it comes "
            f"to that network's minimum, at {stairs.fractions[2]:.3g}; units are recruited one by one all the same."
        )
    draw = _drawn(stairs, stairs.model(1), (1.0, single))
    return Panel(title=title, draw=draw, data=stairs.data, checks=checks, note=note)


def _cubic_panel(letter: str) -> Panel:
    r"""The cubic teacher $x_1^3 + x_2^3$ on infinitely many inputs: the first unit takes the diagonal.

    One cube along (c, s) explains $[6(c^3 + s^3) + 9(c + s)]^2 / 450$ of it, most on the diagonal: 0.64.

    Returns:
        The panel.
    """
    target = teacher(cubic, SECOND)
    # ½E y² = 15: targets scaled to ½ as elsewhere only change the units of time.
    target = with_units(target, incoming(target), outgoing(target) / np.sqrt(30))
    model = TwoLayer(Dense(cubic, inputs=2), width=10, scale=5e-3, key=seed_key(0))
    stairs = staircase(model, gaussian_loss, target, 1e5)
    unit = np.asarray(incoming(stairs.model(1)))
    largest = unit[np.argmax(np.linalg.norm(unit, axis=1))]
    checks = (
        equal("effective widths", (0, 1, 2), stairs.widths),
        close("first plateau / initial loss", 0.36, float(stairs.fractions[1]), absolute=0.005),
        close("cosine of the first unit with the diagonal", 1.0, cosine(largest[None], np.ones(2)), absolute=0.005),
    )
    draw = _drawn(stairs, stairs.model(1), (1.0, 0.36))
    return Panel(title=f"{letter} cubic, order 3", draw=draw, data=stairs.data, checks=checks)


def _make(seeds: int, quick: bool) -> tuple[Panel, ...]:
    samples = QUICK_SAMPLES if quick else SAMPLES
    return (
        softmax_panel(samples // 2),
        _zeroth_order_panel("B", samples),
        _first_order_panel("C", sine, samples),
        _first_order_panel("D", tanh, samples),
        _higher_order_panel("E", _one_minus_cosine(), FIRST, 5e-4, 5000.0, samples),
        _higher_order_panel("F", x_tanh_x, FIRST, 1e-4, 1e4, samples),
        _cubic_panel("G"),
        _higher_order_panel("H", _square_tanh(), SECOND, 2e-2, 2e4, samples),
    )


REPRODUCTIONS = (
    Reproduction(
        name="4",
        title="other activations: what comes first is decided by the lowest order",
        source=SOURCE,
        make=_make,
    ),
)
