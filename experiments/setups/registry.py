"""Experiments by name."""

from ...catalogue import EXPERIMENTS, check_experiment
from .experiment import Experiment
from .figure_1 import SETUPS

_BY_NAME = {item.name: item for item in SETUPS}


def names() -> tuple[str, ...]:
    """The names of all experiments."""
    return tuple(EXPERIMENTS)


def experiment(name: str) -> Experiment:
    """The experiment of a given name; a `ValueError` that lists the names if there is none."""
    check_experiment(name)
    return _BY_NAME[name]
