"""Deep linear networks: the origin, where the order is the depth, and a minimum at a bottleneck."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from saddlescope.flows import unflatten
from saddlescope.models import Deep, Dense, linear

from known_points.minima import minimum
from known_points.placed import KEY, both, modes, network_point
from known_points.record import KnownPoint
from known_points.saddles import degenerate, strict
from vector import Vector

DEPTHS = tuple(range(2, 11))


def product_of_scalars(model: Any, data: Any) -> Any:
    """½(w₁ ⋯ w_k − 1)², the factors in one array."""
    product = model.x[0]
    for k in range(1, model.x.size):
        product = product * model.x[k]
    return (product - data) ** 2 / 2


def origin_of_chain(depth: int, *distances: float) -> list[KnownPoint]:
    """Chains of scalars, as one array and as a deep network, declared or not; and networks of width two."""
    strictly = depth == 2
    scalar, wide = (
        (strict(1, 0), strict(4, 0)) if strictly else (degenerate(depth, depth), degenerate(depth, 4 * depth))
    )
    source = f"minus the product of {depth} layers to lowest order"
    chain = Deep(Dense(linear, inputs=1), widths=(1,) * (depth - 1), scale=0.0, key=KEY)
    network = Deep(Dense(linear, inputs=2, outputs=2), widths=(2,) * (depth - 1), scale=0.0, key=KEY)
    one = np.ones((1, 1))
    points = []
    for distance in distances:
        options = {"distance": distance}
        array, name = Vector(jnp.zeros(depth)), f"origin of a product of {depth} scalars"
        points.append(network_point(name, array, np.asarray(1.0), scalar, source, loss=product_of_scalars, **options))
        points += both(f"origin of a chain of depth {depth}", chain, (one, one), scalar, source, **options)
        points += both(f"origin of depth {depth}, width 2", network, modes(2.0, 1.0), wide, source, **options)
    return points


def bottleneck() -> list[KnownPoint]:
    """Deep linear 4–2–3–4 with strengths 3, 2, 1 at its global minimum, balanced."""
    roots = np.cbrt([3.0, 2.0])
    layers = [np.zeros(shape) for shape in ((2, 4), (3, 2), (4, 3))]
    for layer in layers:
        layer[0, 0], layer[1, 1] = roots
    model = Deep(Dense(linear, inputs=4, outputs=4), widths=(2, 3), scale=0.0, key=KEY)
    theta = np.concatenate([layers[0].ravel(), layers[1].T.ravel(), layers[2].T.ravel()])
    model = unflatten(model, theta)
    source = "Eckart & Young: the best rank-two map; nullity is that of its factorisations, 4 + 6 + 4"
    truth, data = minimum(14), modes(3.0, 2.0, 1.0, inputs=4, outputs=4)
    return [p for d in (0.0, 1e-3) for p in both("bottleneck 4–2–3–4", model, data, truth, source, distance=d)]
