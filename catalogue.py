"""What there is to run and to reproduce, by name; the command line answers from it without importing JAX."""

from collections.abc import Sequence

# Title and source of each experiment.
EXPERIMENTS = {
    "linear": ("fully connected linear network: rank by rank", "Zhang, Saxe & Latham (2025), Figure 1B"),
    "linear-conv": ("linear convolutional network: kernel by kernel", "Zhang, Saxe & Latham (2025), Figure 1C"),
    "relu": ("fully connected ReLU network: kink by kink", "Zhang, Saxe & Latham (2025), Figure 1D"),
    "relu-conv": ("convolutional ReLU network: kernel by kernel", "Zhang, Saxe & Latham (2025), Figure 1E"),
    "attention": ("linear self-attention: head by head", "Zhang, Saxe & Latham (2025), Figure 1F"),
    "quadratic": ("quadratic network: neuron by neuron", "Zhang, Saxe & Latham (2025), Figure 1G"),
}

# Figures that can be reproduced, in the order of the page that shows them.
FIGURES = (
    *("1B", "1C", "1D", "1E", "1F", "1G", "2A", "2B", "2C", "2D", "3", "4", "5", "6"),
    *("attention", "leaky-ReLU", "AGF"),
)


def check_experiment(name: str) -> None:
    """Refuses the name of an experiment that there is not.

    **Raises:** `ValueError` that lists the names.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; there are: {', '.join(EXPERIMENTS)}.")


def select_figures(names: Sequence[str] = ()) -> tuple[str, ...]:
    """The figures that some names mean: "1B" one, "1" all of Figure 1, "4C" all of Figure 4, none at all everything.

    **Raises:** `ValueError` for a name that means nothing.
    """
    chosen = []
    for name in names:
        meant = [key for key in FIGURES if key.lower() == name.lower()]
        meant = meant or [key for key in FIGURES if name.isdigit() and key.rstrip("ABCDEFGH") == name]
        meant = meant or [key for key in FIGURES if key.isdigit() and name.upper().rstrip("ABCDEFGH") == key]
        if not meant:
            raise ValueError(f"there is no figure {name!r} to reproduce; there are: {', '.join(FIGURES)}.")
        chosen += meant
    return tuple(dict.fromkeys(chosen)) or FIGURES
