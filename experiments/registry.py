"""Experiments by name."""

from .experiment import Experiment
from .figure_1 import EXPERIMENTS

_BY_NAME = {item.name: item for item in EXPERIMENTS}


def names() -> tuple[str, ...]:
    """The names of all experiments."""
    return tuple(_BY_NAME)


def experiment(name: str) -> Experiment:
    """The experiment of a given name; a `ValueError` that lists the names if there is none."""
    if name not in _BY_NAME:
        raise ValueError(f"unknown experiment {name!r}; there are: {', '.join(_BY_NAME)}.")
    return _BY_NAME[name]
