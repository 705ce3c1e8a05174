"""Experiments by name."""

from ...catalogue import EXPERIMENTS, check_experiment
from . import digits, figure_1, figure_4, induction_heads
from .experiment import Experiment

_BY_NAME = {item.name: item for item in (*figure_1.SETUPS, *figure_4.SETUPS, *induction_heads.SETUPS, *digits.SETUPS)}


def experiment_names() -> tuple[str, ...]:
    """The names of all experiments."""
    return tuple(EXPERIMENTS)


def experiment(name: str) -> Experiment:
    """The experiment of a given name.

    Args:
        name: see `experiment_names`.

    Returns:
        The experiment.
    """
    check_experiment(name)
    return _BY_NAME[name]
