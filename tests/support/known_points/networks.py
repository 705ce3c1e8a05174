"""Networks at points whose kind is known: the rows of the table of false minima, and origins."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from saddlescope.flows import gaussian_loss
from saddlescope.models import Committee, Dense, LinearAttention, TwoLayer, erf, linear, quadratic, relu, tanh

from known_points.deep_networks import DEPTHS, bottleneck, origin_of_chain
from known_points.minima import minimum
from known_points.placed import KEY, both, modes, network_point, two_layer
from known_points.record import KnownPoint
from known_points.saddles import degenerate, strict


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
