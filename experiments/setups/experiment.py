"""A named set-up: model, loss, data, horizon, and what theory predicts of it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from ...catalogue import EXPERIMENTS, check_settings
from ...models import TwoLayer
from ...models.architecture import Architecture
from ...models.units import width
from ..data.synthetic import seed_keys


class Setup(eqx.Module):
    """Everything that a run needs: `simulate(setup.model, setup.loss, setup.data, t1=setup.t1)`.

    Attributes:
        model: the network with its initial weights.
        loss: scalar function of (model, data).
        data: what the loss takes.
        t1: horizon, in the flow's time.
    """

    model: TwoLayer
    loss: Callable[[Any, Any], Any] = eqx.field(static=True)
    data: Any
    t1: float

    def __str__(self) -> str:
        architecture = self.model.architecture
        return f"{type(architecture).__name__}, {width(self.model)} units, to t = {self.t1:g}"


class Experiment(eqx.Module):
    """A set-up by name.

    Attributes:
        name: its name, for which the catalogue has title and source.
        architecture: the units of the network.
        width: number of units H.
        scale: initialisation scale ε, the standard deviation of the initial weights.
        t1: horizon, in the flow's time.
        make_data: data from a random key.
        loss: scalar function of (model, data).
        levels: plateau losses that theory predicts for given data, from the first plateau to the end.
    """

    name: str = eqx.field(static=True)
    architecture: Architecture = eqx.field(static=True)
    width: int = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)
    make_data: Callable[[PRNGKeyArray], Any] = eqx.field(static=True)
    loss: Callable[[Any, Any], Any] = eqx.field(static=True)
    levels: Callable[[Any], tuple[float, ...]] = eqx.field(static=True)

    @property
    def title(self) -> str:
        """What the network learns, and how."""
        return EXPERIMENTS[self.name][0]

    @property
    def source(self) -> str:
        """Where it is published."""
        return EXPERIMENTS[self.name][1]

    def __str__(self) -> str:
        units = f"{self.width} units, initialisation scale {self.scale:g}, to t = {self.t1:g}"
        return f"{self.name}: {self.title}\n{self.source}\n{units}"

    def setup(
        self, seed: int = 0, *, width: int | None = None, scale: float | None = None, t1: float | None = None
    ) -> Setup:
        """The set-up for one seed; data and initial weights are drawn from independent keys.

        Args:
            seed: seed of both keys.
            width: number of units, by default the published one.
            scale: initialisation scale ε, by default the published one.
            t1: horizon, by default the published one.

        Returns:
            The set-up.
        """
        check_settings(seed, width=width, scale=scale, t1=t1)
        data_key, model_key = seed_keys(seed)
        width = self.width if width is None else width
        scale = self.scale if scale is None else scale
        model = TwoLayer(self.architecture, width=width, scale=scale, key=model_key)
        t1 = self.t1 if t1 is None else t1
        return Setup(model=model, loss=self.loss, data=self.make_data(data_key), t1=t1)
