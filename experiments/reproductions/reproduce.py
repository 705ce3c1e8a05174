"""Reproduces a figure by its name."""

import time
from importlib import import_module

from ...catalogue import FIGURES, check_seeds, select_figures
from .panel import Reproduced, Reproduction


def reproduction(name: str) -> Reproduction:
    """The figure of a name in the catalogue, which names the module that holds it; no other is imported.

    Args:
        name: such as "1B"; see `saddlescope.catalogue.FIGURES`.

    Returns:
        The figure.

    Raises:
        ValueError: when there is no such figure, or the name stands for several.
    """
    figure, *others = select_figures([name])
    if others:
        raise ValueError(f"{name!r} stands for several figures: {', '.join([figure, *others])}.")
    module = import_module(f".{FIGURES[figure]}", __package__)
    return next(item for item in module.REPRODUCTIONS if item.name == figure)


def reproduce(name: str, seeds: int | None = None, quick: bool = False) -> Reproduced:
    """Reproduces one figure.

    Args:
        name: such as "1B"; see `saddlescope.catalogue.FIGURES`.
        seeds: number of seeds, by default the figure's own.
        quick: fewer seeds and smaller sweeps.

    Returns:
        The figure with its panels.
    """
    check_seeds(seeds)
    item = reproduction(name)
    seeds = (item.quick_seeds if quick else item.seeds) if seeds is None else seeds
    start = time.monotonic()
    panels = item.make(seeds, quick)
    return Reproduced(reproduction=item, panels=panels, seeds=seeds, quick=quick, seconds=time.monotonic() - start)
