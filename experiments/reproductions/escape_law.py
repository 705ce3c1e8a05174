"""Escape times of deep networks are a power of the scale of their small layers, set by how many these are."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from ...analysis.figures.style import COLOURS
from ...analysis.statistics.laws import fit_law
from ...flows import LossCurves, half_squared_error, loss_curves, simulate
from ...models import Activation, Deep, Dense, gelu, leaky_relu, linear, sigmoid, tanh
from .check import Check, at_most, close
from .panel import Panel, Reproduction
from .plateau_times import crossings, seed_key

# Inputs, units per layer, samples.
INPUTS, WIDTH, SAMPLES = 4, 8, 32
# Scales of the small layers: half a decade apart, the largest where the leading order holds to a per cent.
SCALES = 10.0 ** np.array([-1.5, -2.0, -2.5, -3.0])
# Variance of weights times fan-in of the layers that are not small: it keeps signals of their size (He et al. 2015; for
# smooth activations 1/σ′(0)²).
GAINS = {"leaky-relu(0.5)": 1.6, "gelu": 4.0, "sigmoid": 16.0}
# The loss at which a flow has escaped, over that of the plateau, and the one at which it is stopped.
ESCAPED, STOPPED = 0.8, 0.75
# The last time, in units of ε^(2 − r), or of ln 1/ε for two small layers: a hundred times the usual ones.
HORIZON = 1e3
# The speed at which a flow that is not stopped by its loss has converged, in units of ε^(r − 1), that of the plateau.
CONVERGED = 1e-6
# Times recorded, evenly on a logarithmic axis: neighbours differ by half a per cent.
POINTS = 3000
# Largest difference between a measured and the predicted exponent.
TOLERANCE = 0.05
DEPTHS = (2, 3, 5, 7)
# One of each class of the deficit σ(z) − z σ′(z): none, of third, second and zeroth order.
CLASSES = (leaky_relu(0.5), tanh, gelu, sigmoid)


def data() -> tuple[np.ndarray, np.ndarray]:
    """White inputs of mean zero and the linear target of one direction."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, INPUTS))
    x = np.linalg.qr(x - x.mean(axis=0))[0] * np.sqrt(SAMPLES)
    return x, x @ np.full((INPUTS, 1), 1 / np.sqrt(INPUTS))


def small_layers(depth: int, count: int, seed: int, last: bool) -> Bool[np.ndarray, " depth"]:
    """Which layers are small: `count` of them, drawn anew for each seed, so that their places vary.

    Args:
        depth: number of layers.
        count: how many are small.
        seed: of the draw.
        last: whether the last layer is always among them. Activations with an offset need that: a last layer that is
            not small has an output at once, whose mean drives all layers below it away from zero.

    Returns:
        A flag for each layer.
    """
    ranks = np.random.default_rng(seed).permutation(depth - last)
    return np.append(ranks, -1)[:depth] < count - last


def bottlenecked(activation: Activation, small: Bool[np.ndarray, " depth"], scale: float, seed: int) -> Deep:
    """A network of He's normal weights, those of the small layers times ε."""
    depth = len(small)
    widths = (WIDTH,) * (depth - 1)
    model = Deep(Dense(activation, inputs=INPUTS), widths=widths, scale=1.0, key=seed_key(seed))
    arrays = (*model.parameters, *model.connections)
    size = np.sqrt(GAINS.get(activation.name, 1.0) / np.array([INPUTS, *widths]))
    scaled = tuple(np.asarray(a) * size[k] * (scale if small[k] else 1.0) for k, a in enumerate(arrays))
    return eqx.tree_at(lambda m: (m.parameters, m.connections), model, (scaled[:2], scaled[2:]))


class Escapes(eqx.Module):
    """Escape times of networks of one depth, activation and number of small layers.

    Attributes:
        layers: number r of small layers.
        times: escape times, one row per scale, one column per seed; the horizon where a flow did not escape.
        censored: which flows did not.
    """

    layers: int
    times: Float[np.ndarray, "K B"]
    censored: Bool[np.ndarray, "K B"]

    def exponent(self) -> tuple[float, float, float]:
        """The exponent q of increments of the time between neighbouring scales, as ε^(−q), and its interval."""
        # Increments leave out what the flow needs besides the plateau, and are constant for a logarithm. Those that end
        # at a flow that did not escape are lower bounds.
        steps = np.diff(self.times, axis=0)
        known = ~self.censored[:-1] & (steps > 0)
        steps = np.where(known, steps, np.nan)
        fit = fit_law(1 / SCALES[1:], steps, self.censored[1:] & known)
        return fit.slope, fit.low, fit.high


def escapes(activation: Activation, depth: int, layers: int, seeds: int) -> Escapes:
    """Escape times at all scales.

    Args:
        activation: of all units.
        depth: number of matrices.
        layers: how many of them are small.
        seeds: number of networks, the same at every scale.

    Returns:
        The times.
    """
    offset = activation.law.order == 0
    places = [small_layers(depth, layers, seed, offset) for seed in range(seeds)]
    models = [bottlenecked(activation, places[s], scale, s) for scale in SCALES for s in range(seeds)]
    ends = HORIZON * (SCALES ** (2 - layers) if layers > 2 else np.log(1 / SCALES))
    ends = np.repeat(ends, seeds)
    if offset:
        times = _one_by_one(models, ends, np.repeat(CONVERGED * SCALES ** (layers - 1), seeds))
    else:
        times = _together(models, ends)
    shape = len(SCALES), seeds
    censored = np.isnan(times)
    return Escapes(
        layers=layers, times=np.where(censored, ends, times).reshape(shape), censored=censored.reshape(shape)
    )


def _together(models: list[Deep], ends: Float[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
    """Escape times of one batch; NaN where there is none before the end."""
    x, y = data()
    ts = ends[:, None] * np.concatenate([[0.0], np.geomspace(1e-6, 1.0, POINTS)])
    # Kinks that a flow slides along cost steps without end at tight tolerances.
    rtol = 1e-8 if models[0].architecture.law.smooth else 1e-5
    curves = loss_curves(models, half_squared_error, [(x, y)] * len(models), ts, rtol=rtol, until=STOPPED)
    return _escape_times(curves, float(np.mean(y**2)) / 2)


def _escape_times(curves: LossCurves, plateau: float) -> Float[np.ndarray, " B"]:
    """When curves fall to `ESCAPED`; one that was stopped before a recorded time has escaped within that step."""
    times = crossings(curves.ts, curves.losses, ESCAPED * plateau)
    ended = curves.speeds == 0
    last = np.argmax(ended, axis=1)
    rows = np.arange(len(last))
    between = np.sqrt(curves.ts[rows, last] * curves.ts[rows, np.maximum(last - 1, 0)])
    return np.where(np.isnan(times) & ended[:, -1], between, times)


def _one_by_one(
    models: list[Deep], ends: Float[np.ndarray, " B"], converged: Float[np.ndarray, " B"]
) -> Float[np.ndarray, " B"]:
    """Escape times of flows that are stiff on the plateau, where the outputs' mean relaxes at once."""
    x, y = data()
    level = ESCAPED * float(np.mean(y**2)) / 2
    times = []
    for model, end, speed in zip(models, ends, converged, strict=True):
        flow = simulate(model, half_squared_error, (x, y), t1=float(end), rtol=1e-7, convergence=float(speed))
        times.append(crossings(flow.ts[None], flow.losses[None], level)[0])
    return np.array(times)


def _exponents(found: dict[str, Escapes]) -> list[Check]:
    checks = [
        close(f"exponent, {name}", each.layers - 2, each.exponent()[0], absolute=TOLERANCE)
        for name, each in found.items()
    ]
    missing = sum(int(each.censored.sum()) for each in found.values())
    total = sum(each.censored.size for each in found.values())
    return [*checks, at_most("share of flows that the horizon cut off", 0.1, missing / total)]


def _times_panel(title: str, found: dict[str, Escapes]) -> Panel:
    """Median escape times against ε, with the law drawn through the smallest."""
    medians = {name: np.median(each.times, axis=1) for name, each in found.items()}

    def draw(ax: Any) -> None:
        for name, each in found.items():
            law = SCALES ** (2.0 - each.layers) if each.layers > 2 else np.log(1 / SCALES)
            line = {"color": COLOURS[each.layers - 2], "lw": 0.8}
            ax.plot(1 / SCALES, law * medians[name][-1] / law[-1], "--", **line)
            ax.plot(1 / SCALES, medians[name], _marker(name), color=line["color"], ms=5, label=name, mfc="none")
        ax.set(xscale="log", yscale="log", xlabel="1 / scale ε of the small layers", ylabel="median escape time")
        # Room above the curves for as many names, in two columns.
        ax.set_ylim(top=ax.get_ylim()[1] * 10 ** (0.3 * len(found)))
        ax.legend(fontsize=6, ncols=2, loc="upper left")

    return Panel(title=title, draw=draw, data=medians, checks=tuple(_exponents(found)))


MARKERS = dict(zip((*(f"L = {depth}" for depth in DEPTHS), *(each.name for each in CLASSES)), "os^Dos^D", strict=True))


def _marker(name: str) -> str:
    return MARKERS[name.split(",")[0]]


def _exponents_panel(found: dict[str, Escapes]) -> Panel:
    """Measured exponents with intervals against r."""
    values = {name: np.array(each.exponent()) for name, each in found.items()}
    checks = [
        at_most(
            "largest |exponent − (r − 2)|", TOLERANCE, max(abs(values[n][0] - e.layers + 2) for n, e in found.items())
        )
    ]

    def draw(ax: Any) -> None:
        ax.axhspan(-TOLERANCE, TOLERANCE, color="0.9", label=f"within {TOLERANCE:g}")
        ax.axhline(0.0, ls="--", color="0.5", label="theory")
        for shift, (name, each) in zip(np.linspace(-0.3, 0.3, len(found)), found.items(), strict=True):
            value, low, high = values[name] - (each.layers - 2)
            error = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
            style = {"fmt": _marker(name), "color": COLOURS[each.layers - 2], "ms": 4, "mfc": "none"}
            ax.errorbar([each.layers + shift], [value], error, **style)
        ax.set(xlabel="number r of small layers", ylabel="exponent of 1/ε, less r − 2", xticks=[2, 3, 4, 5])
        ax.legend(fontsize=7)

    return Panel(title="exponents, 95 % intervals over seeds", draw=draw, data=values, checks=tuple(checks))


def _panels(seeds: int, quick: bool) -> tuple[Panel, ...]:
    """Linear networks of several depths, one activation of each class, and all exponents."""
    counts = (2, 3) if quick else (2, 3, 4, 5)
    by_depth = {
        f"L = {depth}, r = {r}": escapes(linear, depth, r, seeds) for r in counts for depth in DEPTHS if depth >= r
    }
    by_class = {f"{each.name}, r = {r}": escapes(each, 5, r, seeds) for r in counts for each in CLASSES}
    return (
        _times_panel("linear networks of L layers, r of them small", by_depth),
        _times_panel("five layers, r of them small", by_class),
        _exponents_panel(by_depth | by_class),
    )


REPRODUCTIONS = (
    Reproduction(
        name="escape-law",
        title="escape times are set by the number of small layers, not by depth",
        source="Rawal & DeWeese (2026), arXiv 2605.01288",
        make=_panels,
        seeds=6,
        quick_seeds=4,
    ),
)
