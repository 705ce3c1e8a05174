"""Rodas5P: a linearly implicit method of order 5, one Jacobian and one factorisation per step, no iteration.

Our own: Diffrax has no Rosenbrock method, and none of its solvers makes use of a symmetric Jacobian.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
from jaxtyping import Array, Float

from .flat_field import Jacobian, combine, flat_field
from .flat_solver import FlatSolver
from .interpolation import PolynomialInterpolation

GAMMA = 0.21193756319429014
# Of stages 2–6; stages 7 and 8 start where the stage before ended.
A = (
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946),
)
# Of stages 2–8.
C = (
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
    (30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783, -19.097331116725623)
    + (-28.087943162872662,),
    (37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047, -40.06618937091002)
    + (-54.66780262877968, -9.48861652309627),
)
NODES = (0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0)
# Weights of ∂f/∂t; zero from stage 6 on.
D = (GAMMA, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734, 2.325825639765069, 0.0, 0.0, 0.0)


def _rows(rows: tuple[tuple[float, ...], ...]) -> Float[np.ndarray, "8 8"]:
    """Coefficients of stages 2, 3, … as a matrix; each stage without coefficients adds the last k to the one before."""
    matrix = np.zeros((8, 8))
    for i, row in enumerate(rows, start=1):
        matrix[i, : len(row)] = row
    for i in range(len(rows) + 1, 8):
        matrix[i] = matrix[i - 1]
        matrix[i, i - 1] = 1
    return matrix


STAGES, COUPLINGS = _rows(A), _rows(C)
# Dense output of order 4, y(s) = (1 - s) y_0 + s (y_1 + (1 - s) (k_1 + s (k_2 + s k_3))): rows of k_1, k_2, k_3.
H = np.array(
    [
        [25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204]
        + [0.524948541321073, 1.1241088310450404, 0.4272876194431874, -0.17202221070155493],
        [-9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796]
        + [20.176138334709044, 15.98066361424651, -6.789040303419874, -6.710236069923372],
        [11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643]
        + [-52.072871366152654, -59.78993625266729, -0.15582684282751913, 4.883087185713722],
    ]
)


class Rodas5P(FlatSolver):
    r"""Steinebach's Rosenbrock method of order 5(4): stiffly accurate, L-stable, eight linear systems per step.

    With $W = I/(h\gamma) - J$, $J = \partial f / \partial y$ at the start of the step, the stages solve
    $W k_i = f(t + c_i h, y + \sum_j a_{ij} k_j) + \sum_j (C_{ij}/h) k_j + h d_i \partial f/\partial t$.

    Attributes:
        symmetric: whether J is symmetric except for the quadratures, as the Hessian of a gradient flow is. W is then
            factorised by Cholesky at half of the cost; it is not positive definite when $h\gamma$ exceeds the shortest
            time of growth, and such a step, which no method could make accurately, is rejected.
        quadratures: number of trailing components that do not enter the vector field (pure quadratures); their part of
            J need not be factorised.
        jacobian: function (t, y, args) of the Jacobian of the ravelled field; by default forward differentiation.

    Source: Steinebach (2023), "Construction of Rosenbrock–Wanner method Rodas5P and numerical benchmarks within the
    Julia Differential Equations package", BIT 63:27.
    """

    symmetric: bool = False
    quadratures: int = 0
    jacobian: Jacobian | None = None

    interpolation_cls: ClassVar[Callable[..., PolynomialInterpolation]] = PolynomialInterpolation

    def order(self, terms: Any) -> int:
        """The order, 5."""
        return 5

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        """One step from t0 to t1, as Diffrax asks for it."""
        field, x = flat_field(terms, y0, args)
        h = jnp.asarray(t1 - t0, x.dtype)
        rate, time_derivative = field.with_time_derivative(t0, x)
        solve = self._factorise(field.jacobian(t0, x, self.jacobian), h)

        # A loop, so that the field is compiled once and not once per stage.
        def stage(ks: Array, row: tuple[Array, ...]) -> tuple[Array, None]:
            number, a, c, node, d = row
            value = field((t0 + node * h).astype(jnp.result_type(t0)), x + combine(a, ks))
            return ks.at[number].set(solve(value + combine(c, ks) / h + h * d * time_derivative)), None

        ks = jnp.zeros((8, x.size), x.dtype).at[0].set(solve(rate + h * D[0] * time_derivative))
        table = (jnp.asarray(column[1:], x.dtype) for column in (STAGES, COUPLINGS, NODES, D))
        ks, _ = jax.lax.scan(stage, ks, (jnp.arange(1, 8), *table))
        error = ks[-1]
        end = x + combine(jnp.asarray(STAGES[-1], x.dtype), ks) + error
        k = combine(jnp.asarray(H, x.dtype), ks)
        polynomial = jnp.stack([x, end - x + k[0], k[1] - k[0], k[2] - k[1], -k[2]])
        dense_info = {"coefficients": jax.vmap(field.unravel)(polynomial)}
        return field.unravel(end), field.unravel(error), dense_info, None, dfx.RESULTS.successful

    def _factorise(self, jacobian: Float[Array, "n n"], h: Any) -> Callable[[Array], Array]:
        r"""The function r ↦ k that solves $W k = r$, with $W = I/(h\gamma) - J$."""
        size = jacobian.shape[0] - self.quadratures
        main, rates = jacobian[:size, :size], jacobian[size:, :size]
        matrix = jnp.eye(size, dtype=main.dtype) / (h * GAMMA) - main
        if self.symmetric:
            factor = jsp.linalg.cho_factor(matrix, lower=True)
            solve = lambda right: jsp.linalg.cho_solve(factor, right)  # noqa: E731
        else:
            factor = jsp.linalg.lu_factor(matrix)
            solve = lambda right: jsp.linalg.lu_solve(factor, right)  # noqa: E731
        if not self.quadratures:
            return solve

        def blockwise(right: Array) -> Array:
            k = solve(right[:size])
            return jnp.concatenate([k, h * GAMMA * (right[size:] + rates @ k)])

        return blockwise
