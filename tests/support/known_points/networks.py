"""Networks at points whose kind is known: the origin of deep ones, and the rows of the table of false minima."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from saddlescope.flows import Landscape, flatten, gaussian_loss, half_squared_error, unflatten
from saddlescope.models import Committee, Deep, Dense, LinearAttention, TwoLayer, erf, linear, quadratic, relu, tanh

from known_points.minima import minimum
from known_points.record import KnownPoint, Point, Truth
from known_points.saddles import degenerate, strict

KEY = jax.random.key(0)
DEPTHS = tuple(range(2, 11))


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
        array, name = Point(jnp.zeros(depth)), f"origin of a product of {depth} scalars"
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


def ill_conditioned(units: int = 3) -> list[KnownPoint]:
    """Two linear layers, input covariance diag(1, 10⁻⁶), target the identity."""
    x = np.sqrt(2.0) * np.diag([1.0, 1e-3])
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((units, units)))[0]
    u = turn[:, :2]
    dense = Dense(linear, inputs=2, outputs=2)
    first, full = two_layer(dense, u * [1.0, 0.0], u * [1.0, 0.0]), two_layer(dense, u, u)
    saddle = strict(units - 1, 1 + 2 * (units - 1))
    return [
        point
        for distance in (0.0, 1e-6)
        for point in (
            *both(
                "covariance 1 : 10⁶, first mode", first, (x, x), saddle, "each spare unit has ±10⁻⁶", distance=distance
            ),
            *both("covariance 1 : 10⁶, end", full, (x, x), minimum(4 * units - 4), "zero loss", distance=distance),
        )
    ]


def orthogonal_target(degree: int, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and a polynomial of them that is orthogonal to all lower odd powers."""
    x = np.linspace(-1.5, 1.5, count)[:, None]
    lower = np.hstack([x**k for k in range(1, degree, 2)])
    y = x**degree - lower @ np.linalg.lstsq(lower, x**degree, rcond=None)[0]
    return x, y / np.std(y)


def silent_targets() -> list[KnownPoint]:
    """Targets orthogonal to what a small unit sees, at the origin: the Hessian vanishes, but for rounding."""
    cubic, quintic = orthogonal_target(3), orthogonal_target(5)
    origin = lambda activation, width=3: TwoLayer(Dense(activation, inputs=1), width=width, scale=0.0, key=KEY)  # noqa: E731
    fourth = "½(Σ vu)²⟨x²⟩ + ⅓ Σ vu³⟨x³y⟩, which takes both signs"
    sixth = "F₄ = ½(Σ vu)²⟨x²⟩; where it vanishes −(2/15) Σ vu⁵⟨x⁵y⟩ takes both signs"
    curves = {"open": True, "orders": (4,)}
    return [
        *both("tanh at zero, Hermite 3", origin(tanh), cubic, degenerate(4, 6), fourth),
        *both("tanh at zero, Hermite 3", origin(tanh), cubic, degenerate(4, 6), fourth, distance=1e-3),
        *both("tanh at zero, Hermite 5", origin(tanh), quintic, degenerate(6, 6), sixth, **curves),
        *both("linear at zero, Hermite 3", origin(linear), cubic, minimum(6), "zero is the best linear map"),
    ]


def committee(units: int) -> list[KnownPoint]:
    """K equal units of an erf committee on as many orthonormal teachers: the symmetric plateau."""
    make = lambda weights: eqx.tree_at(  # noqa: E731
        lambda m: m.weights, Committee(erf, inputs=units, width=units, scale=0.0, key=KEY), jnp.asarray(weights)
    )
    equal = make(np.full((units, units), 1 / np.sqrt(units * (2 * units - 1))))
    truth, source = strict((units - 1) ** 2, units - 1), "Saad & Solla; the equal shifts of one teacher are quartic"
    return [
        network_point(
            f"{units} equal erf units", equal, make(np.eye(units)), truth, source, distance=d, loss=gaussian_loss
        )
        for d in (0.0, 1e-3)
    ]


def near_copies() -> list[KnownPoint]:
    """Zero loss with two units that are nearly parallel."""
    x, points = np.random.default_rng(0).standard_normal((40, 2)), []
    for activation in (tanh, relu):
        for angle in (1e-3, 1e-2, 3e-2):
            u = [[np.cos(a), np.sin(a)] for a in (0.3, 0.3 + angle)]
            model = two_layer(Dense(activation, inputs=2), u, [[0.7], [0.5]])
            y = np.asarray(jax.vmap(model)(jnp.asarray(x)))
            name = f"two {activation.name} units {angle:g} rad apart"
            points += both(name, model, (x, y), minimum(None), "zero loss; lowest eigenvalue 10⁻¹¹ and less")
    return points


def single_units() -> list[KnownPoint]:
    """Narrow networks whose one unit cannot be joined by another."""
    x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    one_mode, none = np.array([[3.0], [0.0], [0.0]]), np.array([[1.0], [1.0], [0.0], [-1.0]])
    four, single = np.vstack([x, [[1.0, -1.0]]]), Dense(quadratic, inputs=2)
    zero, root = two_layer(single, [0.0, 0.0], 0.0), np.sqrt(2.0)
    dense, data, line = Dense(linear, inputs=2, outputs=2), modes(2.0, 1.0), np.linspace(0.5, 2.0, 5)[:, None]
    return [
        *both("one quadratic unit at zero", zero, (x, one_mode), degenerate(3, 3), "−v uᵀ⟨y xxᵀ⟩u"),
        *both(
            "one quadratic unit on a blind input",
            two_layer(single, [0.0, 1.0], 0.0),
            (x, one_mode),
            degenerate(4, 2),
            "½v²⟨(u·x)⁴⟩ − v δᵀAδ, relaxed in v",
        ),
        *both(
            "one linear unit, first mode", two_layer(dense, [root, 0], [root, 0]), data, minimum(1), "Eckart & Young"
        ),
        *both("one linear unit, second mode", two_layer(dense, [0, 1], [0, 1]), data, strict(1, 1), "1 − 2 and 1 + 2"),
        *both(
            "dead ReLU unit",
            two_layer(Dense(relu, inputs=1), [-1.0], 1.0),
            (line, line),
            minimum(2),
            "the loss is constant nearby",
            open=True,
        ),
        *both(
            "quadratic unit, all inputs zero",
            two_layer(single, [1.0, 2.0], 3.0),
            (0 * four, none),
            minimum(3),
            "the loss does not depend on the weights",
            open=True,
        ),
    ]


def origins() -> list[KnownPoint]:
    """Wide two-layer networks at zero."""
    data, empty = modes(2.0, 1.0, inputs=3, outputs=2), lambda a: TwoLayer(a, width=2, scale=0.0, key=KEY)
    generator = np.random.default_rng(3)
    attention = (
        (generator.standard_normal((30, 2)), generator.standard_normal((30, 2))),
        generator.standard_normal((30, 1)),
    )
    make = lambda activation: empty(Dense(activation, inputs=3, outputs=2))  # noqa: E731
    return [
        *both("linear at zero", make(linear), data, strict(4, 2), "±2, ±1 for each unit"),
        *both("tanh at zero", make(tanh), data, strict(4, 2), "±2, ±1 for each unit", distance=1e-3),
        *both("quadratic at zero", make(quadratic), data, degenerate(3, 10), "an odd lowest order"),
        *both(
            "attention at zero", empty(LinearAttention(inputs=2)), attention, degenerate(3, 10), "an odd lowest order"
        ),
    ]


def network_family(depths: tuple[int, ...] = DEPTHS) -> tuple[KnownPoint, ...]:
    """All known points of networks."""
    chains = [point for depth in depths for point in origin_of_chain(depth, 0.0, 0.1)]
    table = [*bottleneck(), *ill_conditioned(), *silent_targets(), *committee(2), *committee(3)]
    return (*chains, *table, *near_copies(), *single_units(), *origins())
