r"""Functions that are no polynomials, at zero: with the series of one, or flat to all orders.

$L(w) = c\,(k + \sum_j a_j g_j(y))$ of three variables $y = Q^\top (w - w_0) / s$, the coefficients $a_j$ and the
coordinates data, so that all are one program. Exact arithmetic sees the series up to order twelve.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy
from saddlescope.flows import Landscape

from known_points.minima import minimum
from known_points.polynomials import VARIABLES, Base
from known_points.record import KnownPoint, Truth
from known_points.saddles import degenerate, strict
from vector import Vector

X, Y, Z = VARIABLES[:3]
# Where x is zero, so are all derivatives of exp(−1/x²); the branch that is not taken must not divide by zero.
TERMS: dict[str, Any] = {
    "cosh(x)*cos(x) - 1": lambda x, y, z: jnp.cosh(x) * jnp.cos(x) - 1,
    "sin(x) - x": lambda x, y, z: jnp.sin(x) - x,
    "log(1 + x**2)": lambda x, y, z: jnp.log1p(x * x),
    "x*tanh(x)": lambda x, y, z: x * jnp.tanh(x),
    "exp(x) - 1 - x": lambda x, y, z: jnp.exp(x) - 1 - x,
    "sin(x)**2": lambda x, y, z: jnp.sin(x) * jnp.sin(x),
    "z*sin(x)**2": lambda x, y, z: z * jnp.sin(x) * jnp.sin(x),
    "sin(x)**4": lambda x, y, z: (jnp.sin(x) * jnp.sin(x)) * (jnp.sin(x) * jnp.sin(x)),
    "z*tanh(x*y)": lambda x, y, z: z * jnp.tanh(x * y),
    "cos(y) - 1": lambda x, y, z: jnp.cos(y) - 1,
    "exp(-1/x**2)": lambda x, y, z: jnp.where(x == 0, 0.0, jnp.exp(-1 / jnp.where(x == 0, 1.0, x * x))),
    "x**2": lambda x, y, z: x * x,
    "x**4": lambda x, y, z: (x * x) * (x * x),
    "y**2": lambda x, y, z: y * y,
    "y**4": lambda x, y, z: (y * y) * (y * y),
    "z**2": lambda x, y, z: z * z,
    "z*x**2": lambda x, y, z: z * (x * x),
}
ROUND = {"y**2": 1, "z**2": 1}


def case(terms: dict[str, int | sympy.Rational], truth: Truth, source: str, **options: Any) -> tuple:
    """Coefficients, and a base with their formula."""
    formula = " + ".join(f"{c}*({name})" for name, c in terms.items())
    return terms, Base(formula, truth, source, **options)


SIXTH = sympy.Rational(1, 6)
FUNCTIONS = [
    case({"cosh(x)*cos(x) - 1": 1, **ROUND}, degenerate(4, 1), "−x⁴/6 + …"),
    case({"cosh(x)*cos(x) - 1": -1, **ROUND}, minimum(1), "x⁴/6 − …"),
    case({"cosh(x)*cos(x) - 1": 1, "x**4": SIXTH, **ROUND}, minimum(1), "x⁸/2520", open=True),
    case({"cosh(x)*cos(x) - 1": -1, "x**4": -SIXTH, **ROUND}, degenerate(8, 1), "−x⁸/2520", open=True),
    case({"sin(x) - x": 1, **ROUND}, degenerate(3, 1), "−x³/6 + …"),
    case({"sin(x) - x": 1, "x**4": sympy.Rational(1, 20), "cos(y) - 1": -1, "z**2": 1}, degenerate(3, 1), "−x³/6 + …"),
    case({"log(1 + x**2)": 1, "x**2": -1, **ROUND}, degenerate(4, 1), "−x⁴/2 + …"),
    case({"log(1 + x**2)": -1, "x**2": 1, "z**2": 1, "y**4": 1}, minimum(2), "x⁴/2 + y⁴"),
    case({"x*tanh(x)": 1, "x**2": -1, "z**2": 1, "y**4": 1}, degenerate(4, 2), "−x⁴/3 + y⁴"),
    case({"x*tanh(x)": 1, "log(1 + x**2)": -1, **ROUND}, minimum(1), "x⁴/6 + …"),
    case({"exp(x) - 1 - x": 1, "x**2": sympy.Rational(-1, 2), **ROUND}, degenerate(3, 1), "x³/6 + …"),
    case({"exp(x) - 1 - x": 1, **ROUND}, minimum(0), "positive definite"),
    case({"exp(x) - 1 - x": -1, **ROUND}, strict(1, 0), "the sign of x²"),
    case({"cos(y) - 1": 1, "sin(x) - x": 1, "z**2": 1}, strict(1, 1), "the sign of y²"),
    case({"sin(x)**2": -1, "x**2": 1, **ROUND}, minimum(1), "x⁴/3 − …"),
    case({"sin(x)**2": 1, "x**2": -1, **ROUND}, degenerate(4, 1), "−x⁴/3 + …"),
    case({"z*sin(x)**2": 2, "x**4": 1, **ROUND}, minimum(1), "(z + sin²x)² + 2x⁶/3"),
    case({"z*x**2": 2, "sin(x)**4": 1, **ROUND}, degenerate(6, 1), "(z + x²)² − 2x⁶/3"),
    case({"z*tanh(x*y)": 2, "z**2": 1, "x**4": 1, "y**4": 1}, minimum(2), "x⁴ − x²y² + y⁴"),
    case({"z*tanh(x*y)": 3, "z**2": 1, "x**4": 1, "y**4": 1}, degenerate(4, 2), "x⁴ − 9x²y²/4 + y⁴"),
]
# No derivative at zero tells these apart, nor from a flat direction.
FLAT = [
    case({"exp(-1/x**2)": 1, **ROUND}, minimum(1), "positive beside x = 0, flat to all orders", open=True),
    case({"exp(-1/x**2)": -1, **ROUND}, Truth("degenerate saddle", None, 0, 1), "flat to all orders", open=True),
    case({"exp(-1/x**2)": -1, "y**2": 1, "z**2": -1}, strict(1, 1), "the sign of z²"),
]


def loss(model: Vector, data: Any) -> Any:
    """The sum of the terms in their coordinates."""
    rotation, centre, unit, loss_unit, constant, coefficients = data
    x, y, z = rotation.T @ (model.x - centre) / unit
    values = jnp.stack([term(x, y, z) for term in TERMS.values()])
    return loss_unit * (constant + coefficients @ values)


def series(base: Base) -> sympy.Poly:
    """The Taylor polynomial of degree twelve; exp(−1/x²) has none."""
    formula, total = sympy.sympify(base.formula.replace("exp(-1/x**2)", "0"), rational=True), sympy.Integer(0)
    scale = sympy.Dummy(positive=True)
    for term in sympy.Add.make_args(sympy.expand(formula)):
        scaled = term.subs({v: scale * v for v in (X, Y, Z)}, simultaneous=True)
        total += sympy.series(scaled, scale, 0, 13).removeO().subs(scale, 1)
    return sympy.Poly(sympy.expand(total), X, Y, Z)


def function_point(
    terms: dict,
    base: Base,
    *,
    seed: int | None = None,
    loss_unit: float = 1.0,
    weight_unit: float = 1.0,
    constant: float = 0.0,
    distance: float = 0.0,
) -> KnownPoint:
    """A function in given units, for a seed turned and from a start at a distance."""
    generator, coefficients = np.random.default_rng(0 if seed is None else seed), np.zeros(len(TERMS))
    for name, c in terms.items():
        coefficients[list(TERMS).index(name)] = float(c)
    turned = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    centre = np.zeros(3) if seed is None else generator.standard_normal(3) * weight_unit
    rotation = np.eye(3) if seed is None else turned
    data = (rotation, centre, *map(np.asarray, (weight_unit, loss_unit, constant)), coefficients)
    direction = generator.standard_normal(3)
    start = centre + distance * weight_unit * direction / np.linalg.norm(direction)
    units = f"c {loss_unit:g}, s {weight_unit:g}, k {constant:g}{'' if seed is None else ', turned'}"
    return KnownPoint(
        name=f"{base.formula} [function, {units}] from {distance:g}",
        make=lambda: Landscape(Vector(jnp.asarray(start)), loss, data),
        point=centre,
        truth=base.truth,
        source=base.source,
        open=base.open,
        unit=weight_unit,
    )
