"""Exponential Rosenbrock methods: the linear part of the flow at each step is integrated exactly."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax as dfx
import jax
import jax.numpy as jnp
from diffrax import AbstractLocalInterpolation
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..flat_field import FlatField, Jacobian, check_quadratures, flat_field
from .linearisation import GeneralMatrix, SymmetricMatrix

# A sum of terms (i, k, a): a φ_k(chJ) b_i, with b_0 = f, b_1 = ∂f/∂t and b_2, b_3, … the remainders of the stages.
Terms = tuple[tuple[int, int, float], ...]


class Tableau(NamedTuple):
    r"""Coefficients of an exponential Rosenbrock method.

    With $J = \partial f/\partial u$ and $v = \partial f/\partial t$ at the start of the step, and the remainders
    $D_i = f(t + c_i h, U_i) - f(t, u) - J(U_i - u) - c_i h v$ of the stages i = 2, …, s, a stage is
    $U_i = u + c_i h \varphi_1(c_i hJ) f + (c_i h)^2 \varphi_2(c_i hJ) v + h \sum a \varphi_k(c_i hJ) D_j$,
    and the end of the step is the same sum with $c = 1$ and the weights.

    - `order`; `nodes`: $c_2, \ldots, c_s$; `stages`: the sum over D of each stage; `weights`: that of the end;
      `embedded`: that of the comparison, of one order less.
    """

    order: int
    nodes: tuple[float, ...]
    stages: tuple[Terms, ...]
    weights: Terms
    embedded: Terms


def interpolating(first: tuple[int, float], second: tuple[int, float]) -> Terms:
    r"""Weights that integrate $D(\tau) = \alpha\tau^2 + \beta\tau^3$, known at two stages (number, node).

    They solve the stiff conditions of order 4, $\sum b_i c_i^2 = 2\varphi_3$ and $\sum b_i c_i^3 = 6\varphi_4$
    (Hochbruck & Ostermann 2010, section 2.5).
    """
    (i, c), (j, d) = first, second
    p, q = c**2 * (d - c), d**2 * (d - c)
    return ((i, 3, 2 * d / p), (i, 4, -6 / p), (j, 3, -2 * c / q), (j, 4, 6 / q))


def collocated(stage: int, node: float, at: float) -> Terms:
    r"""The term that integrates $D(\tau) = \alpha\tau^2$, known at one stage, up to the node `at`."""
    return ((stage, 3, 2 * at**3 / node**2),)


# exprb43 of Hochbruck, Ostermann & Schweitzer (2009): two new evaluations of the field per step.
EXPRB43 = Tableau(
    order=4,
    nodes=(0.5, 1.0),
    stages=((), ((2, 1, 1.0),)),
    weights=interpolating((2, 0.5), (3, 1.0)),
    embedded=((2, 3, 16.0), (3, 3, -2.0)),
)
# pexprb54s4 of Luan & Ostermann (2016): three new evaluations. With the nodes 1/2 and 9/10 the weights are exact for
# D = τ⁴ as well where J vanishes, which gives order 5.
PEXPRB54 = Tableau(
    order=5,
    nodes=(0.25, 0.5, 0.9),
    stages=((), collocated(2, 0.25, 0.5), collocated(2, 0.25, 0.9)),
    weights=interpolating((3, 0.5), (4, 0.9)),
    embedded=interpolating((2, 0.25), (3, 0.5)),
)
TABLEAUS = {4: EXPRB43, 5: PEXPRB54}


class Linear(NamedTuple):
    r"""What a step needs of the Jacobian J.

    - `products`: an object whose `products(p, s, K)` are $\varphi_k(sJ)b$ for k = 0, …, K, p being b made ready;
    - `ready`: (b, k, a) to b made ready for $a\varphi_k$, φ of higher numbers included, and the error made thereby;
    - `apply`: $Jb$.
    """

    products: Any
    ready: Callable[[Array, int, Any], tuple[Any, Array]]
    apply: Callable[[Array], Array]


def exponential_step(
    tableau: Tableau,
    field: FlatField,
    linear: Linear,
    start: tuple[Any, Array, Array, Array],
    h: Float[Array, ""],
) -> tuple[Array, Array, dict[str, Any]]:
    r"""One step from `start` = (t, u, f, ∂f/∂t): its end, its error estimate, and what dense output needs."""
    t, u, rate, time_derivative = start
    vectors, remainders, error = [], [], jnp.zeros_like(u)

    def add(b: Array, lowest: int, gain: Any) -> None:
        nonlocal error
        made_ready, inaccuracy = linear.ready(b, lowest, gain)
        vectors.append(made_ready)
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
        ready, inaccuracy = linear.ready(remainder - a * one - b * other, 1, gap / 2 * h)
        error = error + jnp.abs(gap / 2 * h * linear.products.products(ready, h, 1)[1]) + jnp.abs(inaccuracy)
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


class ExponentialRosenbrock(dfx.AbstractAdaptiveSolver):
    r"""Exponential Rosenbrock method of order 4 (exprb43) or 5 (pexprb54s4) with a dense Jacobian.

    Linear fields are integrated exactly, so that the length of a step is bounded by the curvature of the field along
    the step alone, by neither the fastest decay nor the length of a plateau. One Jacobian and one eigendecomposition
    per step. Its dense output continues the method itself, $u(s)$ with $\varphi_k(shJ)$, and is as accurate as its
    steps; `SaveAt(dense=True)` keeps a matrix per step.

    - `number`: the order, 4 or 5.
    - `symmetric`: J is symmetric, as the Hessian of a gradient flow is, but for the quadratures; else general, which
      is for small systems (matrix exponentials).
    - `quadratures`: the last components of the ravelled state, so many, do not feed back into the field (the dissipated
      energy of a gradient flow).
    - `jacobian`: function (t, y, args) of the Jacobian of the ravelled field; by default forward differentiation.

    Source: Hochbruck & Ostermann (2010), "Exponential integrators", Acta Numerica 19, section 2.5; Luan & Ostermann
    (2016), "Parallel exponential Rosenbrock methods", Comput. Math. Appl. 71.
    """

    number: int = 5
    symmetric: bool = False
    quadratures: int = 0
    jacobian: Jacobian | None = None

    term_structure: ClassVar = dfx.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., AbstractLocalInterpolation]]

    def __check_init__(self) -> None:
        check_order(self.number)
        if self.quadratures and not self.symmetric:
            raise ValueError("quadratures are set apart from a symmetric Jacobian only; set symmetric=True too.")

    def order(self, terms: Any) -> int:
        return self.number

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> None:
        check_quadratures(self.quadratures, flat_field(terms, y0, args)[1].size)

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        field, u = flat_field(terms, y0, args)
        matrix = field.jacobian(t0, u, self.jacobian)
        products = SymmetricMatrix(matrix, self.quadratures) if self.symmetric else GeneralMatrix(matrix)
        linear = Linear(products, lambda b, k, a: (b, jnp.zeros_like(b)), lambda b: matrix @ b)
        start = (t0, u, *field.with_time_derivative(t0, u))
        end, error, dense = exponential_step(TABLEAUS[self.number], field, linear, start, jnp.asarray(t1 - t0, u.dtype))
        return field.unravel(end), field.unravel(error), {"y0": y0, **dense}, None, dfx.RESULTS.successful


def check_order(number: int) -> None:
    """Refuses an order for which there is no method."""
    if number not in TABLEAUS:
        raise ValueError(f"there are exponential Rosenbrock methods of order 4 and 5 here; got {number}.")


class ExponentialInterpolation(AbstractLocalInterpolation):
    r"""$u(s) = u + \sum_{ik} a_{ik} s^k \varphi_k(shJ) b_i$ with $s = (t - t_0)/(t_1 - t_0)$."""

    t0: Any
    t1: Any
    y0: Any
    products: Any
    vectors: tuple[Any, ...]
    table: Float[Array, "i k"]

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Any:
        """y at t0, or the increment from t0 to t1."""
        del left
        if t1 is not None:
            return jax.tree.map(lambda end, start: end - start, self.evaluate(t1), self.evaluate(t0))
        u, unravel = ravel_pytree(self.y0)
        h = jnp.asarray(self.t1 - self.t0, u.dtype)
        passed = jnp.asarray(t0 - self.t0, u.dtype)
        s = jnp.where(h == 0, 0.0, passed / jnp.where(h == 0, 1.0, h))
        table = self.table * s ** jnp.arange(self.table.shape[1])
        return unravel(u + _sum(self.products, self.vectors, table, passed))


ExponentialRosenbrock.interpolation_cls = ExponentialInterpolation
