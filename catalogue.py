"""What there is to run and to reproduce, by name, and which settings make sense; answers without importing JAX."""

import math
from collections.abc import Sequence

# Title and source of each experiment.
EXPERIMENTS = {
    "linear": ("fully connected linear network: rank by rank", "Zhang, Saxe & Latham (2025), Figure 1B"),
    "linear-conv": ("linear convolutional network: kernel by kernel", "Zhang, Saxe & Latham (2025), Figure 1C"),
    "relu": ("fully connected ReLU network: kink by kink", "Zhang, Saxe & Latham (2025), Figure 1D"),
    "relu-conv": ("convolutional ReLU network: kernel by kernel", "Zhang, Saxe & Latham (2025), Figure 1E"),
    "attention": ("linear self-attention: head by head", "Zhang, Saxe & Latham (2025), Figure 1F"),
    "quadratic": ("quadratic network: neuron by neuron", "Zhang, Saxe & Latham (2025), Figure 1G"),
    "tanh": ("tanh network: units of first order", "Zhang, Saxe & Latham (2025), Figure 4D"),
    "x-tanh-x": ("x·tanh(x) network: units of second order, one by one", "Zhang, Saxe & Latham (2025), Figure 4F"),
    "induction-heads": (
        "two-layer transformer: labels in context, then induction heads",
        "task of Singh et al. (2024) and Reddy (2024)",
    ),
    "induction-heads-noisy": (
        "the same with noisy answers, whose logits are finite",
        "task of Singh et al. (2024) and Reddy (2024)",
    ),
    "induction-heads-64": (
        "the same with noisy answers, tokens of 64 entries and eight heads per layer",
        "task of Singh et al. (2024) and Reddy (2024)",
    ),
    "digits-tanh": ("handwritten digits by a 64–50–10 tanh network", "digits of scikit-learn, needs saddlescope[data]"),
    "digits-relu": ("handwritten digits by a 64–50–10 ReLU network", "digits of scikit-learn, needs saddlescope[data]"),
    "digits-conv": ("handwritten digits by eight kernels of 3 × 3", "digits of scikit-learn, needs saddlescope[data]"),
}

# The set-ups of films, by default: those whose films the authors show.
FILMS = ("linear", "linear-conv", "relu", "relu-conv", "attention", "quadratic", "tanh", "x-tanh-x")

# Figures that can be reproduced, in the order of the page that shows them, each with the module of
# `experiments.reproductions` that holds it: a new figure is a file there and a line here.
FIGURES = {
    **dict.fromkeys(("1B", "1C", "1D", "1E", "1F", "1G"), "figure_1"),
    **dict.fromkeys(("2A", "2B", "2C", "2D"), "figure_2"),
    "3": "figure_3",
    "4": "figure_4",
    "5": "figure_5",
    "6": "figure_6",
    "attention": "linear_attention",
    "leaky-ReLU": "leaky_relu",
    "AGF": "alternating_flows",
    "induction-time": "induction_time",
    "escape-law": "escape_law",
    "phase-diagram": "phase_diagram",
}

# Solvers that runs can be told to use, of `experiments.sweeps.solvers`; without one the choice is made on the way.
SOLVERS = (
    "Tsit5",
    "Dopri8",
    "Kvaerno5",
    "BDF",
    "MatrixFreeBDF",
    "Rodas5P",
    "KrylovRosenbrock",
    "ExtrapolatedRKC",
    "RKC2",
)

# What random keys are made of: signed integers of 64 bits.
SEEDS = range(-(2**63), 2**63)
# A trajectory keeps 2e7 numbers in memory; of a million units with five weights each these are its last four states.
LARGEST_WIDTH = 10**6


def check_experiment(name: str) -> None:
    """Checks that there is an experiment of this name.

    Args:
        name: name of an experiment.

    Raises:
        ValueError: when there is none; the message lists the names.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; there are: {', '.join(EXPERIMENTS)}.")


def check_solver_name(name: str) -> None:
    """Checks that there is a solver of this name.

    Args:
        name: name of a solver.

    Raises:
        ValueError: when there is none; the message lists the names.
    """
    if name not in SOLVERS:
        raise ValueError(f"unknown solver {name!r}; there are: {', '.join(SOLVERS)}.")


def check_settings(
    seed: int = 0,
    *,
    width: int | None = None,
    scale: float | None = None,
    t1: float | None = None,
    budget: float | None = None,
) -> None:
    """Checks the settings of an experiment; those that are `None` are the published ones.

    Args:
        seed: seed of data and initial weights.
        width: number of units.
        scale: initialisation scale, the standard deviation of the initial weights.
        t1: horizon, in the flow's time.
        budget: wall-clock seconds for the analysis.

    Raises:
        ValueError: when a setting is not finite, or out of its range.
    """
    if seed not in SEEDS:
        raise ValueError(f"the seed must lie between {SEEDS.start} and {SEEDS.stop - 1}; got {seed}.")
    if width is not None and width < 1:
        raise ValueError(f"width must be at least 1; got {width}.")
    if width is not None and width > LARGEST_WIDTH:
        raise ValueError(f"width must be at most {LARGEST_WIDTH}; got {width}.")
    if scale is not None and not (math.isfinite(scale) and scale >= 0):
        raise ValueError(f"the initialisation scale must be finite and not negative; got {scale}.")
    if t1 is not None and not (math.isfinite(t1) and t1 > 0):
        raise ValueError(f"t1 must be positive and finite; got {t1}.")
    if budget is not None and not budget > 0:
        raise ValueError(f"the budget must be positive; got {budget}.")


def check_seeds(seeds: int | None) -> None:
    """Checks a number of seeds; `None` is each figure's own.

    Args:
        seeds: number of seeds.

    Raises:
        ValueError: when the number is not positive.
    """
    if seeds is not None and seeds < 1:
        raise ValueError(f"seeds must be at least 1; got {seeds}.")


def select_figures(names: Sequence[str] = ()) -> tuple[str, ...]:
    """The figures that some names stand for.

    Args:
        names: "1B" for one figure, "1" for all of Figure 1, "4C" for all of Figure 4; none for all figures.

    Returns:
        Names of figures, each once, in the order given.

    Raises:
        ValueError: when a name stands for no figure.
    """
    chosen = []
    for name in names:
        meant = [key for key in FIGURES if key.lower() == name.lower()]
        meant = meant or [key for key in FIGURES if name.isdigit() and key.rstrip("ABCDEFGH") == name]
        meant = meant or [key for key in FIGURES if key.isdigit() and name.upper().rstrip("ABCDEFGH") == key]
        if not meant:
            raise ValueError(f"there is no figure {name!r} to reproduce; there are: {', '.join(FIGURES)}.")
        chosen += meant
    return tuple(dict.fromkeys(chosen)) or tuple(FIGURES)
