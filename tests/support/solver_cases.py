"""Our own solvers: adding a line here adds the law tests of a solver.

The laws of one solver, slow ones included: `pytest tests/flows/solvers -m "slow or not slow" -k NAME`.
"""

from typing import Any, NamedTuple

import diffrax as dfx
from saddlescope.flows.solvers import BDF, RKC2, ExponentialRosenbrock, ExtrapolatedRKC, KrylovRosenbrock, Rodas5P


class Case(NamedTuple):
    """A solver for gradient flows with the energy beside them, the same for plain states, and what it claims.

    Attributes:
        flow: the solver for states (θ, E), where E is a quadrature.
        plain: the solver for states without quadratures.
        order: order of convergence, `None` where it varies.
        general: whether it is made for Jacobians that are not symmetric, too.
        stiff: whether classical stiff problems take it no more than twice the steps of SciPy's BDF at rtol 1e-6.
        rtol: tolerance at which its laws are tested; methods of low order would need too many steps at a tight one.
    """

    flow: dfx.AbstractSolver
    plain: dfx.AbstractSolver
    order: int | None
    general: bool = True
    stiff: bool = True
    rtol: float = 1e-8


def _exponential(order: int) -> Case:
    # The plain one takes any Jacobian.
    return Case(ExponentialRosenbrock(order, symmetric=True, quadratures=1), ExponentialRosenbrock(order), order)


SOLVERS: dict[str, Any] = {
    "rodas5p": Case(Rodas5P(symmetric=True, quadratures=1), Rodas5P(), 5),
    "exponential-4": _exponential(4),
    "exponential-5": _exponential(5),
    "bdf": Case(BDF(), BDF(), None),
    "bdf-matrix-free": Case(BDF(matrix_free=True, quadratures=1), BDF(matrix_free=True), None, general=False),
    "rkc2": Case(RKC2(quadratures=1), RKC2(), 2, stiff=False, rtol=1e-6),
    "extrapolated-rkc": Case(ExtrapolatedRKC(quadratures=1), ExtrapolatedRKC(), 4, stiff=False),
    "krylov-4": Case(KrylovRosenbrock(4, quadratures=1), KrylovRosenbrock(4), 4, general=False),
    "krylov-5": Case(KrylovRosenbrock(5, quadratures=1), KrylovRosenbrock(5), 5, general=False),
}
