r"""Polynomials in turned, bent and rescaled coordinates: $L(w) = c\,(k + f(y + T(y, y)))$, $y = Q^\top(w - w_0)/s$.

Rotation, centre, units, constant, bend T and the polynomial itself are data, so that all polynomials in one number of
variables are one program. None of them changes the kind of the critical point at $w_0$: its order, index and nullity
are those of f at zero, since $y + T(y, y)$ is a change of coordinates whose derivative at zero is the identity.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import sympy
from jaxtyping import Float
from saddlescope.flows import Landscape

from known_points.record import KnownPoint, Truth
from vector import Vector

# The highest power of one variable, and the number of terms to which every polynomial is padded.
HIGHEST, TERMS = 12, 96
VARIABLES = sympy.symbols("x y z u v w p q")
LOSS_UNITS = (1e-12, 1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e12)
WEIGHT_UNITS = (1e-6, 1e-3, 1.0, 1e3, 1e6)
CONSTANTS = (0.0, 1.0, -1.0, 30.0)
DISTANCES = (0.0, 1e-6, 1e-3, 0.1)


class Base(NamedTuple):
    """A polynomial with its truth at a point, by default zero.

    It does not depend on `flat` further variables. `near` is the largest distance from which the point is the only one
    that a start may mean: zero for points on a set of critical points whose kinds differ. Where that set is a cone,
    `straight` says that coordinates are not bent beside it, so that Newton's method goes straight to the point.
    `curve` is one along which the loss falls, as polynomials in t, `critical` one of critical points through the point.
    """

    formula: str
    truth: Truth
    source: str
    open: bool = False
    near: float = 0.1
    at: Sequence[str] = ()
    orders: tuple[int, ...] = ()
    flat: int = 0
    curve: Sequence[str] = ()
    critical: Sequence[str] = ()
    straight: bool = False


class Coordinates(NamedTuple):
    """Units and coordinates in which a polynomial is written, as data of the loss."""

    rotation: Float[np.ndarray, "n n"]
    centre: Float[np.ndarray, " n"]
    weight_unit: Float[np.ndarray, ""]
    loss_unit: Float[np.ndarray, ""]
    constant: Float[np.ndarray, ""]
    bend: Float[np.ndarray, "n n n"]
    warp: Float[np.ndarray, " 3"]


@cache
def polynomial(formula: str, at: Sequence[str] = ()) -> sympy.Poly:
    """The polynomial of a formula about a point: in the variables that it contains, the point moved to zero."""
    expression = sympy.sympify(formula, locals={str(v): v for v in VARIABLES}, rational=True)
    variables = [v for v in VARIABLES if v in expression.free_symbols]
    point = [sympy.Rational(number) for number in at] or [sympy.Integer(0)] * len(variables)
    moved = expression.subs({v: v + a for v, a in zip(variables, point, strict=True)}, simultaneous=True)
    return sympy.Poly(moved, *variables)


def loss(model: Vector, data: Any) -> Any:
    """The polynomial in its coordinates."""
    coordinates, powers, coefficients = data
    return _value(_bent(model, coordinates), coordinates, powers, coefficients)


def warped_loss(model: Vector, data: Any) -> Any:
    r"""The same of $g(y)$, $g(t) = t + a (\sin t - t) + b (\tanh t - t) + c (e^t - 1 - t)$ in each coordinate."""
    coordinates, powers, coefficients = data
    y, (a, b, c) = _bent(model, coordinates), coordinates.warp
    y = y + a * (jnp.sin(y) - y) + b * (jnp.tanh(y) - y) + c * (jnp.exp(y) - 1 - y)
    return _value(y, coordinates, powers, coefficients)


def _bent(model: Vector, coordinates: Coordinates) -> Any:
    y = coordinates.rotation.T @ (model.x - coordinates.centre) / coordinates.weight_unit
    return y + (coordinates.bend @ y) @ y


def _value(y: Any, coordinates: Coordinates, powers: Any, coefficients: Any) -> Any:
    table = [jnp.ones_like(y)]
    for _ in range(HIGHEST):
        table.append(table[-1] * y)
    # One power of each variable in each term, chosen by ones among zeros.
    factors = jnp.einsum("eki,ei->ki", powers, jnp.stack(table))
    terms = factors[:, 0]
    for i in range(1, y.size):
        terms = terms * factors[:, i]
    return coordinates.loss_unit * (coordinates.constant + coefficients @ terms)


def encoded(poly: sympy.Poly, squares: Float[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray]:
    r"""Powers and coefficients of a polynomial plus $\sum_j \lambda_j z_j^2$ in further variables."""
    terms, size = poly.terms(), len(poly.gens) + len(squares)
    exponents = [(*e, *(0 for _ in squares)) for e, _ in terms]
    exponents += [(0,) * (len(poly.gens) + j) + (2,) + (0,) * (len(squares) - j - 1) for j in range(len(squares))]
    numbers = [float(c) for _, c in terms] + [float(value) for value in squares]
    powers, coefficients = np.zeros((HIGHEST + 1, TERMS, size)), np.zeros(TERMS)
    powers[0] = 1.0
    for k, (exponent, number) in enumerate(zip(exponents, numbers, strict=True)):
        powers[0, k] = 0.0
        powers[exponent, k, range(size)] = 1.0
        coefficients[k] = number
    return powers, coefficients


def polynomial_point(
    base: Base,
    *,
    size: int | None = None,
    seed: int | None = None,
    loss_unit: float = 1.0,
    weight_unit: float = 1.0,
    constant: float = 0.0,
    distance: float = 0.0,
    warp: Sequence[float] = (0.0, 0.0, 0.0),
    rotation: Float[np.ndarray, "n n"] | None = None,
) -> KnownPoint:
    """A polynomial in given units and in `size` variables, the further ones stiff; without a seed as it is written,
    but for a given `rotation`.

    With a seed the coordinates are turned, for odd seeds also bent, and the centre is not zero; the start lies at the
    distance (in units of the weights) in a random direction.
    """
    poly = polynomial(base.formula, tuple(base.at))
    variables = len(poly.gens) + base.flat
    size = variables if size is None else size
    generator = np.random.default_rng(0 if seed is None else seed)
    stiff = 10 ** generator.uniform(-0.5, 0.5, size - variables)
    squares = np.concatenate([np.zeros(base.flat), stiff])
    turned = np.linalg.qr(generator.standard_normal((size, size)))[0] if rotation is None else rotation
    bend = generator.standard_normal((size, size, size)) * 0.2 / size
    centre = generator.standard_normal(size) * weight_unit
    plain, bent = seed is None, seed is not None and seed % 2 == 1 and not (base.straight and distance > 0)
    coordinates = Coordinates(
        rotation=np.eye(size) if plain and rotation is None else turned,
        centre=np.zeros(size) if plain else centre,
        weight_unit=np.asarray(weight_unit),
        loss_unit=np.asarray(loss_unit),
        constant=np.asarray(constant),
        bend=bend if bent else np.zeros_like(bend),
        warp=np.asarray(warp, float),
    )
    direction = generator.standard_normal(size)
    start = coordinates.centre + distance * weight_unit * direction / np.linalg.norm(direction)
    data = (coordinates, *encoded(poly, squares))
    function = warped_loss if any(warp) else loss
    at = f" at {', '.join(base.at)}" if base.at else ""
    kind = "" if plain else ", turned" + bent * ", bent"
    if any(warp):
        kind += f", warped {tuple(warp)}"
    flat = f" + {base.flat} flat" * bool(base.flat)
    name = f"{base.formula}{flat}{at} [{size} variables, c {loss_unit:g}, s {weight_unit:g}, k {constant:g}{kind}]"
    return KnownPoint(
        name=f"{name} from {distance:g}",
        make=lambda: Landscape(Vector(jnp.asarray(start)), function, data),
        point=coordinates.centre,
        truth=base.truth,
        source=base.source,
        open=base.open,
        orders=base.orders,
        unit=weight_unit,
    )
