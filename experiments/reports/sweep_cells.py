"""The configurations of a collected sweep, with their flows."""

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from xarray import Dataset


class Cell(NamedTuple):
    """The flows of one configuration.

    Attributes:
        settings: what varies, by name.
        flows: with the dimensions `seed` and `visit`; seeds without a flow are left out.
    """

    settings: dict[str, Any]
    flows: "Dataset"

    @property
    def name(self) -> str:
        """The settings in words."""
        return ", ".join(f"{name} {told(value)}" for name, value in self.settings.items()) or "all flows"


def cells_of(dataset: "Dataset") -> tuple[Cell, ...]:
    """The configurations of a collected sweep that have flows.

    Args:
        dataset: by `collect`.

    Returns:
        One cell for each, in the order of the settings.
    """
    axes = [str(name) for name in dataset["visits"].dims if name != "seed"]
    found: list[Cell] = []
    for places in itertools.product(*(range(dataset.sizes[axis]) for axis in axes)):
        flows = dataset.isel(dict(zip(axes, places, strict=True)))
        flows = flows.isel(seed=np.flatnonzero(flows["result"].values != ""))
        if flows.sizes["seed"]:
            settings = {axis: dataset[axis].values[place] for axis, place in zip(axes, places, strict=True)}
            found.append(Cell(settings, flows))
    return tuple(found)


def told(value: Any) -> str:
    """A setting in words."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
