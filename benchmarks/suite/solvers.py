"""All solvers by name, ours and their peers, each a function (problem, rtol, atol) to `Work`.

Peers that are not installed are left out.
"""

import importlib.util
from typing import Any

import diffrax as dfx
from saddlescope.flows.curvature.hessian import hessian_of
from saddlescope.flows.solver_choice.choose import first_choice
from saddlescope.flows.solvers import BDF, ExponentialRosenbrock, ExtrapolatedRKC, KrylovRosenbrock, Rodas5P
from saddlescope.flows.solvers.kvaerno import kvaerno5

from .called_from_python import torchdiffeq, with_cvode, with_scipy
from .compiled import PlainField, count_stabilised, with_diffrax, with_fixed_steps, with_rkc2


def _jacobian(problem):
    return PlainField(problem.landscape, hessian_of(problem.landscape)).jacobian


def _count_stages(number, hessians=0):
    return lambda state, steps: {"gradients": number * steps, "hessians": hessians * steps}


def _count_bdf(state, steps):
    counts = state.newton.counts
    return {"gradients": int(counts.evaluations), "hessians": int(counts.jacobians)}


def _count_matrix_free_bdf(state, steps):
    return {"gradients": int(state.newton.evaluations), "products": int(state.newton.products)}


def _count_krylov(state, steps):
    return {"gradients": int(state.evaluations), "products": int(state.products)}


def _count_unknown(state, steps):
    return dict.fromkeys(("gradients", "hessians"))


# Where a solver that `first_choice` names has another name here.
NAMES = {"KrylovRosenbrock": "KrylovRosenbrock 5", "MatrixFreeBDF": "BDF matrix-free"}
_CHOSEN: dict[tuple[str, float], str] = {}


def auto(problem, rtol, atol):
    """Ours: the solver that `first_choice` picks, before the clock starts."""
    key = problem.name, rtol
    if key not in _CHOSEN:
        choice = first_choice(problem.landscape, problem.t1, rtol)
        _CHOSEN[key] = choice.name
        print(f"{problem.name}: auto at rtol {rtol:g} is {_CHOSEN[key]}: {choice.reason}")
    return (OURS | PEERS)[NAMES.get(_CHOSEN[key], _CHOSEN[key])](problem, rtol, atol)


OURS: dict[str, Any] = {
    "auto": auto,
    "BDF": with_diffrax(lambda problem: BDF(jacobian=_jacobian(problem)), _count_bdf),
    "BDF matrix-free": with_diffrax(lambda problem: BDF(matrix_free=True), _count_matrix_free_bdf),
    "Rodas5P": with_diffrax(lambda problem: Rodas5P(True, jacobian=_jacobian(problem)), _count_stages(8, 1)),
    "ExponentialRosenbrock 5": with_diffrax(
        lambda problem: ExponentialRosenbrock(5, True, jacobian=_jacobian(problem)), _count_stages(5, 1)
    ),
    "KrylovRosenbrock 5": with_diffrax(lambda problem: KrylovRosenbrock(5), _count_krylov),
    "RKC2": with_rkc2,
    "ExtrapolatedRKC": with_diffrax(lambda problem: ExtrapolatedRKC(), count_stabilised),
}
PEERS: dict[str, Any] = {
    "Tsit5": with_diffrax(lambda problem: dfx.Tsit5(), _count_stages(6), explicit=True),
    "Dopri8": with_diffrax(lambda problem: dfx.Dopri8(), _count_stages(13), explicit=True),
    "Kvaerno5": with_diffrax(lambda problem: kvaerno5(), _count_unknown),
    "LSODA": with_scipy("LSODA"),
    "SciPy BDF": with_scipy("BDF"),
    "Radau": with_scipy("Radau"),
    "RK4, step by sharpness": with_fixed_steps(4),
    "GD, step by sharpness": with_fixed_steps(1),
}
if importlib.util.find_spec("sksundae"):
    PEERS |= {"CVODE dense": with_cvode(False), "CVODE GMRES": with_cvode(True)}
if importlib.util.find_spec("torchdiffeq"):
    PEERS["torchdiffeq dopri5"] = torchdiffeq
# They hold or factorise a dense Jacobian.
DENSE = {
    "BDF",
    "Rodas5P",
    "ExponentialRosenbrock 5",
    "Kvaerno5",
    "LSODA",
    "SciPy BDF",
    "Radau",
    "CVODE dense",
}
