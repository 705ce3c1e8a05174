"""A named set-up: model, loss, data, horizon, and what theory predicts of it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from ...catalogue import EXPERIMENTS, check_settings
from ...models import TwoLayer
from ...models.architecture import Architecture
from ...models.description import description
from ..data.synthetic import seed_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A panel of the figure: draws a model on some axes.
Panel = Callable[[Any, "Axes"], object]


class Setup(eqx.Module):
    """Everything that a run needs: `simulate(setup.model, setup.loss, setup.data, t1=setup.t1)`.

    Attributes:
        model: the network with its initial weights.
        loss: scalar function of (model, data).
        data: what the loss takes.
        t1: horizon, in the flow's time.
    """

    model: Any
    loss: Callable[[Any, Any], Any] = eqx.field(static=True)
    data: Any
    t1: float

    def __str__(self) -> str:
        return f"{description(self.model)}\nto t = {self.t1:g}"


class Remarks(eqx.Module):
    """What the models at the visits of a run are besides critical points, such as the rule that each computes.

    Attributes:
        lines: sentences for the table, one or more for each visit.
        values: plain values for the record, one mapping for each visit.
    """

    lines: tuple[str, ...]
    values: tuple[Mapping[str, Any], ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


class Experiment(eqx.Module):
    """A set-up by name.

    Attributes:
        name: its name, for which the catalogue has title and source.
        make_model: the network from width, initialisation scale and random key.
        width: number of units H, in each layer where there are several.
        scale: initialisation scale ε, the standard deviation of the initial weights.
        t1: horizon, in the flow's time.
        make_data: data from a random key.
        loss: scalar function of (model, data).
        levels: plateau losses that theory predicts for given data, from the first plateau to the end.
        remarks: from the models at the visits, in order, and the data to what these compute; by default nothing.
        panels: further panels of the figure for each visit, by the names of their rows, from the data; by default none.
        budget: wall-clock seconds after which no further critical point is sought; by default there is no limit.
        integration: settings of `simulate`, such as `rtol` and `solver`, where its defaults do not serve.
    """

    name: str = eqx.field(static=True)
    make_model: Callable[[int, float, PRNGKeyArray], Any] = eqx.field(static=True)
    width: int = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)
    make_data: Callable[[PRNGKeyArray], Any] = eqx.field(static=True)
    loss: Callable[[Any, Any], Any] = eqx.field(static=True)
    levels: Callable[[Any], tuple[float, ...]] = eqx.field(static=True)
    remarks: Callable[[tuple[Any, ...], Any], Remarks] | None = eqx.field(static=True, default=None)
    panels: Callable[[Any], Mapping[str, Panel]] | None = eqx.field(static=True, default=None)
    budget: float | None = eqx.field(static=True, default=None)
    integration: Mapping[str, Any] = eqx.field(static=True, default_factory=dict)

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
        model = self.make_model(width, scale, model_key)
        t1 = self.t1 if t1 is None else t1
        return Setup(model=model, loss=self.loss, data=self.make_data(data_key), t1=t1)


def two_layer(architecture: Architecture) -> Callable[[int, float, PRNGKeyArray], TwoLayer]:
    """What makes two-layer networks of an architecture."""
    return lambda width, scale, key: TwoLayer(architecture, width=width, scale=scale, key=key)
