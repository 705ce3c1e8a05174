"""Our own solvers: adding a line here adds the law tests of a solver."""

from typing import Any, NamedTuple

import diffrax as dfx
from saddlescope.flows.solvers import ExponentialRosenbrock, KrylovRosenbrock, Rodas5P


class Case(NamedTuple):
    """A solver for gradient flows with the energy beside them, the same for plain states, and what it claims.

    - `general`: also for fields whose Jacobian is not symmetric.
    """

    flow: dfx.AbstractSolver
    plain: dfx.AbstractSolver
    order: int
    general: bool = True


def _exponential(order: int) -> Case:
    # The plain one takes any Jacobian.
    return Case(ExponentialRosenbrock(order, symmetric=True, quadratures=1), ExponentialRosenbrock(order), order)


SOLVERS: dict[str, Any] = {
    "rodas5p": Case(Rodas5P(symmetric=True, quadratures=1), Rodas5P(), 5),
    "exponential-4": _exponential(4),
    "exponential-5": _exponential(5),
    "krylov-4": Case(KrylovRosenbrock(4, quadratures=1), KrylovRosenbrock(4), 4, general=False),
    "krylov-5": Case(KrylovRosenbrock(5, quadratures=1), KrylovRosenbrock(5), 5, general=False),
}
