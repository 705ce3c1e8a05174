"""Networks at known points, with their units declared or hidden."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from saddlescope.flows import Landscape, flatten, half_squared_error, unflatten
from saddlescope.models import TwoLayer

from known_points.record import KnownPoint, Truth

KEY = jax.random.key(0)


class Undeclared(eqx.Module):
    """A network that hides where its units are."""

    network: Any

    def __call__(self, x: Any) -> Any:
        return self.network(x)


def network_point(
    name: str,
    model: Any,
    data: Any,
    truth: Truth,
    source: str,
    *,
    distance: float = 0.0,
    loss: Any = None,
    **options: Any,
) -> KnownPoint:
    """A network at a known point, and its start at a distance in a random direction."""
    point = flatten(model)
    direction = np.random.default_rng(len(name)).standard_normal(point.size)
    start = point + distance * direction / np.linalg.norm(direction)
    return KnownPoint(
        name=f"{name} from {distance:g}",
        make=lambda: Landscape(unflatten(model, start), half_squared_error if loss is None else loss, data),
        point=point,
        truth=truth,
        source=source,
        **options,
    )


def both(name: str, model: Any, *arguments: Any, **options: Any) -> list[KnownPoint]:
    """A network with its units declared and without."""
    hidden = network_point(f"{name}, undeclared", Undeclared(model), *arguments, **options)
    return [network_point(f"{name}, declared", model, *arguments, **options), hidden]


def modes(*strengths: float, inputs: int | None = None, outputs: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """White inputs, and a linear target with given singular values."""
    inputs, outputs = inputs or len(strengths), outputs or len(strengths)
    matrix = np.zeros((outputs, inputs))
    np.fill_diagonal(matrix[: len(strengths), : len(strengths)], strengths)
    x = np.sqrt(inputs) * np.eye(inputs)
    return x, x @ matrix.T


def two_layer(architecture: Any, u: Any, v: Any) -> TwoLayer:
    """A two-layer network with given parameters, one row per unit."""
    u, v = np.atleast_2d(np.asarray(u, float)), np.asarray(v, float)
    model = TwoLayer(architecture, width=len(u), scale=0.0, key=KEY)
    return eqx.tree_at(lambda m: m.parameters, model, (jnp.asarray(u), jnp.asarray(v.reshape(len(u), -1))))
