r"""Saddle-to-saddle, mixed or lazy: linear networks over initialisation scale, spectrum exponent and width.

The target has K input–output strengths $s_k \propto k^{-\kappa}$ on white inputs. A flow is **saddle-to-saddle** if it
visits a saddle of every rank 0, …, K − 1, so that each mode is learned in a transition of its own between two plateaus;
**lazy** if its tangent kernel changes by less than a fifth of itself; **mixed** otherwise: some modes are learned
together, or without a plateau before.
"""

from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int

from ...analysis.ensembles.itineraries import itineraries
from ...analysis.figures.style import COLOURS
from ...flows import Ensemble, ensemble, linear_population, statistics_loss, unflatten
from ...models import Dense, TwoLayer, linear
from ...models.units import with_units
from ..data.synthetic import power_law
from .check import Check, at_least, close
from .panel import Panel, Reproduction
from .phase_boundary import MODES, predicted_boundary, predicted_saddles
from .plateau_times import seed_key

SCALES = np.geomspace(1e-10, 1.0, 11)
POWERS = np.linspace(0.0, 2.0, 10)
WIDTHS = (10, 100, 1000, 10000)
# Relative change of the tangent kernel below which a flow is lazy. In the rich limit it is far above one; from large
# weights it falls as 1/√H, the size of the first outputs over that of the kernel.
LAZY = 0.2
# Horizon: three times ln(1/ε²)/s of the slowest mode of the steepest spectrum.
HORIZON = 900.0
# Speed at which a flow has converged: far below that of every intermediate plateau here.
CONVERGED = 1e-9
PHASES = ("saddle-to-saddle", "mixed", "lazy")
# Values of κ on theory's boundary.
FINE = 41
# Share of cells in which measurement and closed form must agree: the others lie on a boundary, where seeds differ.
AGREEMENT = 0.9
# Colours of the phases.
PALETTE = (COLOURS[0], "#dddddd", COLOURS[3])


def reduced(width: int, scale: float, *, key: Array) -> TwoLayer:
    """A random linear network of any width as the equivalent one of at most 2K units.

    Rotating hidden units changes neither outputs nor gradient flow of a linear network, nor its tangent kernel; of the
    2K × H matrix of all weights, a rotation leaves the triangle of its LQ decomposition and zero units.

    Args:
        width: number H of units.
        scale: initialisation scale ε.
        key: random key.

    Returns:
        The network of 2K units, some of them zero where there are fewer.
    """
    model = TwoLayer(Dense(linear, inputs=MODES, outputs=MODES), width=width, scale=scale, key=key)
    weights = np.concatenate([np.asarray(model.u), np.asarray(model.v)], axis=1)
    triangle = np.linalg.qr(weights, mode="r")
    units = np.zeros((2 * MODES, 2 * MODES))
    units[: len(triangle)] = triangle
    few = TwoLayer(Dense(linear, inputs=MODES, outputs=MODES), width=2 * MODES, scale=0.0, key=key)
    return with_units(few, units[:, :MODES], units[:, MODES:])


def kernel_change(start: TwoLayer, end: TwoLayer) -> float:
    r"""$\|K(T) - K(0)\|_F / \|K(0)\|_F$ of the tangent kernel of a linear network on white inputs.

    $K = U^\top U \otimes I + I \otimes V^\top V$.

    Args:
        start: the network at the start.
        end: and at the end.

    Returns:
        The relative change.
    """
    below, above = (np.asarray(start.u), np.asarray(end.u)), (np.asarray(start.v), np.asarray(end.v))
    (u0, u1), (v0, v1) = ([each.T @ each for each in pair] for pair in (below, above))

    def size(a: Any, b: Any) -> float:
        squares = len(b) * np.sum(a**2) + len(a) * np.sum(b**2) + 2 * np.trace(a) * np.trace(b)
        return float(np.sqrt(squares))

    return size(u1 - u0, v1 - v0) / size(u0, v0)


def saddles_visited(widths: Int[np.ndarray, "B V"]) -> Int[np.ndarray, " B"]:
    """How many of the ranks 0, …, K − 1 each flow visits; −1 pads."""
    return np.array([len(set(row[row >= 0]) & set(range(MODES))) for row in widths])


def _flows(seeds: int, scales: Any, powers: Any) -> Ensemble:
    """All cells in one ensemble, widths first, then scales, powers, seeds."""
    cells = [(width, scale, power, s) for width in WIDTHS for scale in scales for power in powers for s in range(seeds)]
    models = [reduced(width, scale, key=seed_key(s)) for width, scale, _, s in cells]
    each = {k: linear_population(np.eye(MODES), np.diag(power_law(MODES, k)), weight=0.5) for k in powers}
    data = [each[power] for _, _, power, _ in cells]
    return ensemble(
        models,
        statistics_loss,
        data,
        t1=HORIZON,
        separate_data=True,
        rtol=1e-7,
        convergence=CONVERGED,
    )


def _measured(seeds: int, scales: Any, powers: Any) -> tuple[Any, Any]:
    """Medians over seeds of the number of saddles visited and of the kernel's change: by width, scale, power."""
    flows = _flows(seeds, scales, powers)
    widths = np.asarray(itineraries(flows, kinds=False).dataset()["effective_width"])
    ends = [(k, index) for k, member in enumerate(flows.members) for index in (0, len(member.ts) - 1)]
    thetas = flows.weights(ends)
    models = [unflatten(flows.members[0].landscape.model, theta) for theta in thetas]
    changes = [kernel_change(*pair) for pair in zip(models[::2], models[1::2], strict=True)]
    shape = len(WIDTHS), len(scales), len(powers), seeds
    saddles, change = (np.median(np.reshape(each, shape), axis=-1) for each in (saddles_visited(widths), changes))
    return saddles, change


def phases(saddles: Float[np.ndarray, "*cells"], changes: Float[np.ndarray, "*cells"]) -> Int[np.ndarray, "*cells"]:
    """The phase of each cell, as a number into `PHASES`.

    Args:
        saddles: median number of saddles visited.
        changes: median relative change of the tangent kernel.

    Returns:
        0 for saddle-to-saddle, 1 for mixed, 2 for lazy.
    """
    return np.where(changes < LAZY, 2, np.where(saddles >= MODES, 0, 1))


def _map_panel(number: int, scales: Any, powers: Any, saddles: Any, found: Any, checks: tuple[Check, ...]) -> Panel:
    """The phases at one width, numbers of saddles in the cells, and the boundary of the closed form."""
    width = WIDTHS[number]
    fine = np.linspace(powers[0], powers[-1], FINE)
    boundary = np.array([predicted_boundary(power, width, (scales[0], scales[-1])) for power in fine])

    def draw(ax: Any) -> None:
        from matplotlib.colors import BoundaryNorm, ListedColormap
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        colours, text = ListedColormap(PALETTE), {"fontsize": 6, "ha": "center", "va": "center"}
        edges = np.exp(_edges(np.log(scales))), _edges(powers)
        ax.pcolormesh(*edges, found.T, cmap=colours, norm=BoundaryNorm([-0.5, 0.5, 1.5, 2.5], 3))
        for i, j in np.argwhere(found != 2):
            ax.text(scales[i], powers[j], f"{saddles[i, j]:g}", color="w" if found[i, j] == 0 else "k", **text)
        ax.plot(boundary, fine, color="k", lw=1.2)
        ax.set(xscale="log", xlabel="initialisation scale ε", ylabel="spectrum exponent κ")
        handles: list[Any] = [Patch(color=each, label=name) for each, name in zip(PALETTE, PHASES, strict=True)]
        handles.append(Line2D([], [], color="k", label="closed form"))
        ax.legend(
            handles=handles, fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4, columnspacing=0.8
        )

    data = {"scales": scales, "powers": powers, "saddles": saddles, "phases": found, "boundary": boundary}
    return Panel(title=f"width {width}; numbers: saddles visited", draw=draw, data=data, checks=checks)


def _edges(centres: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """The edges of cells around evenly spaced values."""
    half = (centres[1] - centres[0]) / 2
    return np.append(centres - half, centres[-1] + half)


def _checks(number: int, scales: Any, powers: Any, saddles: Any, changes: Any, found: Any) -> tuple[Check, ...]:
    """Against the closed form, and at the edges of the diagram."""
    predicted = np.array([[predicted_saddles(e, k, WIDTHS[number]) for k in powers] for e in scales])
    rich = found != 2
    same = np.mean((saddles[rich] >= MODES) == (predicted[rich] >= MODES))
    staged = found == 0
    return (
        at_least("share of cells whose phase is the closed form's", AGREEMENT, float(same)),
        close("saddle-to-saddle cells with equal strengths", 0, int(np.sum(staged[:, powers == 0])), absolute=0),
        close(
            "share of saddle-to-saddle cells at the smallest ε, κ ≥ 1",
            1,
            float(np.mean(staged[0, powers >= 1])),
            absolute=0,
        ),
        close("share of lazy cells at the largest ε", 1, float(np.mean(found[-1] == 2)), absolute=0),
        at_least("smallest relative change of the kernel, saddle-to-saddle", 1.0, float(np.min(changes[staged]))),
    )


def _panels(seeds: int, quick: bool) -> tuple[Panel, ...]:
    """One map per width."""
    scales, powers = (SCALES[::2], POWERS[::3]) if quick else (SCALES, POWERS)
    saddles, changes = _measured(seeds, scales, powers)
    found = phases(saddles, changes)
    return tuple(
        _map_panel(
            number,
            scales,
            powers,
            saddles[number],
            found[number],
            _checks(number, scales, powers, saddles[number], changes[number], found[number]),
        )
        for number in range(len(WIDTHS))
    )


REPRODUCTIONS = (
    Reproduction(
        name="phase-diagram",
        title="saddle-to-saddle, mixed and lazy linear networks",
        source="regimes of Zhang, Saxe & Latham (2025), section 6, and Chizat, Oyallon & Bach (2019)",
        make=_panels,
        seeds=3,
        quick_seeds=1,
    ),
)
