"""Figure 4: other activations, by the lowest Taylor order of a unit's output in its incoming weights."""

import jax
import jax.numpy as jnp
import numpy as np

from ..flows import gaussian_loss, mean_squared_error
from ..models import (
    Activation,
    Dense,
    TwoLayer,
    UnitLaw,
    cubic,
    incoming,
    outgoing,
    sigmoid,
    sine,
    tanh,
    with_units,
    x_tanh_x,
)
from .ensemble import seed_key
from .panel import Panel, Reproduction, at_least, at_most, close, equal
from .staircase import Staircase, staircase

SOURCE = "Zhang, Saxe & Latham (2025), Figure 4"
SAMPLES = 1024
# The paper's formulas of E and H are not legible in the sources that we have; these have their orders.
ONE_MINUS_COSINE = Activation("1-cos", lambda z: 1 - jnp.cos(z), UnitLaw(zero=True, order=2))
SQUARE_TANH = Activation("z²tanh", lambda z: z**2 * jnp.tanh(z), UnitLaw(zero=True, order=3))
NOT_REPRODUCED = (
    "Panel A, softmax attention, is not reproduced: the correlation of the label with the mean token, from which its "
    "values grow first, is zero but for sampling noise, so that its times are those of the authors' sample."
)
FIRST, SECOND = np.array([[1.0, 0.0], [0.0, 2.0]]), np.eye(2)


def _teacher(activation: Activation, directions: np.ndarray) -> TwoLayer:
    """y = φ(x; u₁*) + φ(x; u₂*)."""
    model = TwoLayer(Dense(activation, inputs=2), 2, 1.0, key=jax.random.key(0))
    return with_units(model, jnp.asarray(directions), jnp.ones((2, 1)))


def _sample(activation: Activation, directions: np.ndarray):
    """Standard normal inputs, targets with unit second moment, as for Figure 1G."""
    x = jax.random.normal(jax.random.key(11), (SAMPLES, 2))
    y = jax.vmap(_teacher(activation, directions))(x)
    return x, y / jnp.sqrt(jnp.mean(y**2))


def _time_to(stairs: Staircase, fraction: float) -> float:
    """When the loss first falls to a fraction of the initial one."""
    below = stairs.flow.losses <= fraction * stairs.flow.losses[0]
    return float(stairs.flow.ts[np.argmax(below)]) if below.any() else np.inf


def _first_order_panel(letter: str, activation: Activation) -> Panel:
    r"""Rank-one weights until the first drop, along and at the rate of $\Sigma_{yx}$; then theory is silent.

    Near zero φ = σ'(0) u·x, so that the network is a linear one with $\|\Sigma_{yx}\|$ as its only mode: with the mean
    squared error $u \propto \Sigma_{yx} e^{2 \|\Sigma_{yx}\| t}$.
    """
    data = _sample(activation, FIRST)
    model = TwoLayer(Dense(activation, inputs=2), 50, 1e-6, key=seed_key(0))
    stairs = staircase(model, mean_squared_error, data, 40.0)
    cross = np.asarray(data[1][:, 0] @ data[0]) / SAMPLES
    drop = int(np.argmax(stairs.flow.losses <= 0.9 * stairs.flow.losses[0]))
    u = np.asarray(incoming(stairs.flow.model_at(drop)))
    _, sizes, rows = np.linalg.svd(u)
    # From a hundred times the initial weights to a hundredth of those at the drop everything is linear.
    norms = np.linalg.norm(stairs.flow.ys, axis=1)
    linear = (norms > 100 * norms[0]) & (norms < 0.01 * norms[drop])
    rate = np.polyfit(stairs.flow.ts[linear], np.log(norms[linear]), 1)[0]
    checks = (
        at_most("σ₂ / σ₁ of the incoming weights at the first drop", 0.05, sizes[1] / sizes[0]),
        close("cosine of their direction with Σ_yx", 1.0, abs(rows[0] @ cross) / np.linalg.norm(cross), absolute=1e-3),
        close("growth rate before it", 2 * np.linalg.norm(cross), float(rate), relative=0.02),
        at_least("time to lose 10 %", 1.0, _time_to(stairs, 0.9)),
    )
    return Panel(f"{letter} {activation.name}, order 1", lambda ax: stairs.draw(ax, (1.0,)), stairs.data, checks)


def _zeroth_order_panel() -> Panel:
    """φ(0) ≠ 0: the outgoing weights learn the mean at once, without a plateau."""
    data = _sample(sigmoid, FIRST)
    model = TwoLayer(Dense(sigmoid, inputs=2), 50, 1e-6, key=seed_key(0))
    stairs = staircase(model, mean_squared_error, data, 40.0)
    # f = ½Σv obeys ḟ = −(H/2)(f − ȳ): half of the mean's loss is gone at ln(2)/H.
    y = np.asarray(data[1])
    mean = float(np.mean(y) ** 2 / np.mean(y**2))
    half = np.log(2) / 50
    checks = (
        close("time to lose half of the mean's share", half, _time_to(stairs, 1 - mean / 2), relative=0.1),
        at_most("loss at t = 1 / initial loss", 1.1 * (1 - mean), float(_fraction_at(stairs, 1.0))),
    )

    def draw(ax):
        stairs.draw(ax, (1.0, 1 - mean))
        ax.set_xlim(0, 5)

    return Panel("B sigmoid, order 0", draw, stairs.data, checks, NOT_REPRODUCED)


def _fraction_at(stairs: Staircase, t: float) -> float:
    return float(np.interp(t, stairs.flow.ts, stairs.flow.losses) / stairs.flow.losses[0])


def _higher_order_panel(
    letter: str, activation: Activation, directions: np.ndarray, scale: float, horizon: float, order: int
) -> Panel:
    """Units grow one by one: one large unit on the plateau, two at the end."""
    model = TwoLayer(Dense(activation, inputs=2), 10, scale, key=seed_key(0))
    stairs = staircase(model, mean_squared_error, _sample(activation, directions), horizon)
    checks = (
        at_least("visits", 3, len(stairs.widths)),
        equal("effective widths, first three visits", (0, 1, 2), stairs.widths[:3]),
    )
    return Panel(f"{letter} {activation.name}, order {order}", lambda ax: stairs.draw(ax, (1.0,)), stairs.data, checks)


def _cubic_panel(letter: str) -> Panel:
    r"""The cubic teacher $x_1^3 + x_2^3$ on infinitely many inputs: the first unit takes the diagonal.

    One cube along (c, s) explains $[6(c^3 + s^3) + 9(c + s)]^2 / 450$ of it, most on the diagonal: 0.64.
    """
    teacher = _teacher(cubic, SECOND)
    # ½E y² = 15: targets scaled to ½ as elsewhere only change the units of time.
    teacher = with_units(teacher, incoming(teacher), outgoing(teacher) / np.sqrt(30))
    model = TwoLayer(Dense(cubic, inputs=2), 10, 5e-3, key=seed_key(0))
    stairs = staircase(model, gaussian_loss, teacher, 1e5)
    unit = np.asarray(incoming(stairs.model(1)))
    largest = unit[np.argmax(np.linalg.norm(unit, axis=1))]
    cosine = abs(np.sum(largest)) / np.sqrt(2) / np.linalg.norm(largest)
    checks = (
        equal("effective widths", (0, 1, 2), stairs.widths),
        close("first plateau / initial loss", 0.36, float(stairs.fractions[1]), absolute=0.005),
        close("cosine of the first unit with the diagonal", 1.0, float(cosine), absolute=0.005),
    )
    return Panel(f"{letter} cubic, order 3", lambda ax: stairs.draw(ax, (1.0, 0.36)), stairs.data, checks)


def _make(seeds: int, quick: bool) -> tuple[Panel, ...]:
    return (
        _zeroth_order_panel(),
        _first_order_panel("C", sine),
        _first_order_panel("D", tanh),
        _higher_order_panel("E", ONE_MINUS_COSINE, FIRST, 5e-4, 5000.0, 2),
        _higher_order_panel("F", x_tanh_x, FIRST, 5e-4, 5000.0, 2),
        _cubic_panel("G"),
        _higher_order_panel("H", SQUARE_TANH, SECOND, 2e-2, 2e4, 3),
    )


FIGURE_4 = (
    Reproduction("4", "other activations: what comes first is decided by the lowest order", SOURCE, _make, 1, 1),
)
