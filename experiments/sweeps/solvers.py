"""Solvers by the names that the settings of sweeps have for them."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx

from ...catalogue import check_solver_name
from ...flows.solvers import BDF, RKC2, ExtrapolatedRKC, KrylovRosenbrock, Rodas5P
from ...flows.solvers.kvaerno import kvaerno5

# With one quadrature, as `simulate` chooses them: the dissipated energy, which does not enter the field.
MAKERS: dict[str, Callable[[], dfx.AbstractSolver[Any]]] = {
    "Tsit5": dfx.Tsit5,
    "Dopri8": dfx.Dopri8,
    "Kvaerno5": kvaerno5,
    "BDF": lambda: BDF(quadratures=1),
    "MatrixFreeBDF": lambda: BDF(matrix_free=True, quadratures=1),
    "Rodas5P": lambda: Rodas5P(quadratures=1),
    "KrylovRosenbrock": lambda: KrylovRosenbrock(quadratures=1),
    "ExtrapolatedRKC": lambda: ExtrapolatedRKC(quadratures=1),
    "RKC2": lambda: RKC2(quadratures=1),
}


def named_solver(name: str | None) -> dfx.AbstractSolver[Any] | None:
    """The solver of a name.

    Args:
        name: one of `MAKERS`, or `None`.

    Returns:
        The solver; `None` for `None`, which leaves the choice to `simulate`. An unknown name is a `ValueError`.
    """
    if name is None:
        return None
    check_solver_name(name)
    return MAKERS[name]()
