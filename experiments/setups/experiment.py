"""A named set-up: model, loss, data, horizon, and what theory predicts of it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from ...models import TwoLayer
from ...models.architecture import Architecture
from ..data.synthetic import seed_keys


class Setup(eqx.Module):
    """Everything that a run needs: `simulate(setup.model, setup.loss, setup.data, t1=setup.t1)`."""

    model: Any
    loss: Callable[[Any, Any], Any] = eqx.field(static=True)
    data: Any
    t1: float


class Experiment(eqx.Module):
    """A set-up by name.

    - `name`, `title`, `source`: what it is and where it comes from;
    - `architecture`, `width`, `scale`: the network and the standard deviation of its initial weights;
    - `make_data`: data from a random key; `loss`: the loss; `t1`: horizon;
    - `levels`: plateau losses that theory predicts for given data, from the first plateau to the end.
    """

    name: str = eqx.field(static=True)
    title: str = eqx.field(static=True)
    source: str = eqx.field(static=True)
    architecture: Architecture = eqx.field(static=True)
    width: int = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)
    make_data: Callable[[PRNGKeyArray], Any] = eqx.field(static=True)
    loss: Callable[[Any, Any], Any] = eqx.field(static=True)
    levels: Callable[[Any], tuple[float, ...]] = eqx.field(static=True)

    def setup(
        self, seed: int = 0, *, width: int | None = None, scale: float | None = None, t1: float | None = None
    ) -> Setup:
        """The set-up for one seed; data and initial weights are drawn from independent keys.

        **Arguments:** `seed`: integer; `width`, `scale`, `t1`: replace the published values.
        """
        data_key, model_key = seed_keys(seed)
        width = self.width if width is None else width
        scale = self.scale if scale is None else scale
        model = TwoLayer(self.architecture, width=width, scale=scale, key=model_key)
        return Setup(model, self.loss, self.make_data(data_key), self.t1 if t1 is None else t1)
