"""Solvers by name."""

import diffrax as dfx
import pytest
from saddlescope.catalogue import SOLVERS
from saddlescope.experiments.sweeps.solvers import MAKERS, named_solver
from saddlescope.flows.simulation.usable_solver import check_solver
from saddlescope.flows.solvers import BDF


def test_the_names_that_are_known_without_jax_are_those_of_solvers():
    assert tuple(MAKERS) == SOLVERS
    for name in SOLVERS:
        check_solver(named_solver(name))
    assert named_solver(None) is None and isinstance(named_solver("Dopri8"), dfx.Dopri8)
    assert named_solver("MatrixFreeBDF") == BDF(matrix_free=True, quadratures=1)
    with pytest.raises(ValueError, match="unknown solver 'LSODA'"):
        named_solver("LSODA")
