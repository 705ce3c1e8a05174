"""Exponential Rosenbrock methods: the linear part of the flow at each step is integrated exactly.

Our own: there are no exponential integrators in Diffrax, nor elsewhere in JAX.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax as dfx
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..flat_field import FlatField, Jacobian, flat_field
from ..flat_solver import FlatSolver
from ..interpolation import StepInterpolation, fraction
from .linearisation import GeneralMatrix, SymmetricMatrix
from .tableaus import Tableau, tableau_of_order


class Linear(NamedTuple):
    r"""What a step needs of the Jacobian J.

    Attributes:
        products: an object whose `products(p, s, K)` are $\varphi_k(sJ)b$ for k = 0, …, K, where p is b prepared.
        prepare: (b, k, a) ↦ b prepared for $a\varphi_k, a\varphi_{k+1}, \ldots$, and the error made thereby.
        apply: b ↦ Jb.
    """

    products: Any
    prepare: Callable[[Array, int, Any], tuple[Any, Array]]
    apply: Callable[[Array], Array]


def exponential_step(
    tableau: Tableau,
    field: FlatField,
    linear: Linear,
    start: tuple[Any, Array, Array, Array],
    h: Float[Array, ""],
) -> tuple[Array, Array, dict[str, Any]]:
    r"""One step of a method.

    Args:
        tableau: the method.
        field: f on flat vectors.
        linear: the Jacobian at the start.
        start: (t, u, f, ∂f/∂t) at the start.
        h: the length of the step.

    Returns:
        The state at the end, its error estimate, and what `ExponentialInterpolation` needs.
    """
    t, u, rate, time_derivative = start
    vectors, remainders, error = [], [], jnp.zeros_like(u)

    def add(b: Array, lowest: int, gain: Any) -> None:
        nonlocal error
        prepared, inaccuracy = linear.prepare(b, lowest, gain)
        vectors.append(prepared)
        error = error + jnp.abs(inaccuracy)

    add(rate, 1, h)
    add(time_derivative, 2, h**2)
    for i, (node, terms) in enumerate(zip(tableau.nodes, tableau.stages, strict=True), start=2):
        table = _table(((0, 1, node), (1, 2, node**2 * h), *terms), i, h)
        increment = _sum(linear.products, vectors, table, node * h)
        remainder = field(t + node * h, u + increment) - rate - linear.apply(increment) - node * h * time_derivative
        remainders.append(remainder)
        add(remainder, 3, h * max(abs(a) for j, _, a in tableau.weights + tableau.embedded if j == i))
    count = len(vectors)
    table = _table(((0, 1, 1.0), (1, 2, h), *tableau.weights), count, h)
    difference = _table(tableau.weights + tuple((i, k, -a) for i, k, a in tableau.embedded), count, h)
    end = u + _sum(linear.products, vectors, table, h)
    error = error + jnp.abs(_sum(linear.products, vectors, difference, h, first=2))
    gap = 1 - tableau.nodes[-1]
    if gap > 0:
        # A kink after the last stage changes none of them. It shows in the remainder at the end, against that of the
        # last two stages continued, and costs half the gap on average.
        change = end - u
        remainder = field(t + h, end) - rate - linear.apply(change) - h * time_derivative
        *_, one, other = remainders
        a, b = _continued(*tableau.nodes[-2:])
        prepared, inaccuracy = linear.prepare(remainder - a * one - b * other, 1, gap / 2 * h)
        error = error + jnp.abs(gap / 2 * h * linear.products.products(prepared, h, 1)[1]) + jnp.abs(inaccuracy)
    return end, error, {"products": linear.products, "vectors": tuple(vectors), "table": table}


def _continued(c: float, d: float) -> tuple[float, float]:
    r"""Weights of $D(c)$ and $D(d)$ in $D(1)$ for $D(\tau) = \alpha\tau^2 + \beta\tau^3$."""
    return (d - 1) / (c**2 * (d - c)), (1 - c) / (d**2 * (d - c))


def _table(terms: Any, count: int, h: Float[Array, ""]) -> Float[Array, "i k"]:
    """Terms as a matrix, times h."""
    table = jnp.zeros((count, 5), h.dtype)
    for i, k, a in terms:
        table = table.at[i, k].add(a * h)
    return table


def _sum(products: Any, vectors: Any, table: Float[Array, "i k"], scale: Array, first: int = 0) -> Array:
    r"""$\sum_{ik} a_{ik} \varphi_k(sJ) b_i$."""
    highest = table.shape[1] - 1
    return sum(table[i] @ products.products(vectors[i], scale, highest) for i in range(first, len(vectors)))  # pyright: ignore


class ExponentialInterpolation(StepInterpolation):
    r"""$u(s) = u + \sum_{ik} a_{ik} s^k \varphi_k(shJ) b_i$ with $s = (t - t_0)/(t_1 - t_0)$.

    Attributes:
        y0: the state at the start.
        products: what computes $\varphi_k(sJ)b$.
        vectors: the $b_i$, prepared.
        table: the $a_{ik}$ times the length of the step.
    """

    y0: Any
    products: Any
    vectors: tuple[Any, ...]
    table: Float[Array, "i k"]

    def at(self, t: Any) -> Any:
        """The state at time t."""
        u, unravel = ravel_pytree(self.y0)
        passed = jnp.asarray(t - self.t0, u.dtype)
        s = fraction(passed, jnp.asarray(self.t1 - self.t0, u.dtype))
        table = self.table * s ** jnp.arange(self.table.shape[1])
        return unravel(u + _sum(self.products, self.vectors, table, passed))


class ExponentialRosenbrock(FlatSolver):
    r"""Exponential Rosenbrock method of order 4 (exprb43) or 5 (pexprb54s4) with a dense Jacobian.

    Linear fields are integrated exactly, so that the length of a step is bounded by the curvature of the field along
    the step alone, by neither the fastest decay nor the length of a plateau. One Jacobian and one eigendecomposition
    per step. Its dense output continues the method itself, $u(s)$ with $\varphi_k(shJ)$, and is as accurate as its
    steps; `SaveAt(dense=True)` keeps a matrix per step.

    Args:
        order: the order, 4 or 5.
        symmetric: whether J is symmetric except for the quadratures, as the Hessian of a gradient flow is; otherwise
            general, which is for small systems (matrix exponentials).
        quadratures: number of trailing components that do not enter the vector field (pure quadratures).
        jacobian: function (t, y, args) of the Jacobian of the ravelled field; by default forward differentiation.

    Raises:
        ValueError: when there is no method of that order, or quadratures are given without `symmetric`.

    Source: Hochbruck & Ostermann (2010), "Exponential integrators", Acta Numerica 19, section 2.5; Luan & Ostermann
    (2016), "Parallel exponential Rosenbrock methods", Comput. Math. Appl. 71.
    """

    # Diffrax's solvers have a method `order`.
    _order: int
    symmetric: bool
    quadratures: int
    jacobian: Jacobian | None

    interpolation_cls: ClassVar[Callable[..., StepInterpolation]] = ExponentialInterpolation

    def __init__(
        self, order: int = 5, symmetric: bool = False, quadratures: int = 0, jacobian: Jacobian | None = None
    ) -> None:
        tableau_of_order(order)
        self._order, self.symmetric = order, symmetric
        self.quadratures, self.jacobian = quadratures, jacobian
        if quadratures and not symmetric:
            raise ValueError("quadratures are set apart from a symmetric Jacobian only; set symmetric=True too.")

    def order(self, terms: Any) -> int:
        """The order, 4 or 5."""
        return self._order

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        """One step from t0 to t1, as Diffrax asks for it."""
        field, u = flat_field(terms, y0, args)
        h = jnp.asarray(t1 - t0, u.dtype)
        matrix = field.jacobian(t0, u, self.jacobian)
        products = SymmetricMatrix(matrix, self.quadratures) if self.symmetric else GeneralMatrix(matrix)
        linear = Linear(products, prepare=lambda b, k, a: (b, jnp.zeros_like(b)), apply=lambda b: matrix @ b)
        start = (t0, u, *field.with_time_derivative(t0, u))
        end, error, dense = exponential_step(tableau_of_order(self._order), field, linear, start, h)
        return field.unravel(end), field.unravel(error), {"y0": y0, **dense}, None, dfx.RESULTS.successful
