"""Predictions: names, assumptions, values or the reason why there are none, as one table."""

import pytest
from saddlescope.analysis import theory
from saddlescope.analysis.theory.formulas.predictions import FORMULAS
from saddlescope.flows import Landscape, half_squared_error, mean_squared_error
from saddlescope.models import Dense, linear

from architectures import problem
from formula_cases import SPECTRAL, reason, small


def test_every_formula_has_its_own_name_and_says_what_it_assumes():
    names = [formula.name for formula in FORMULAS]
    assert len(set(names)) == len(names)
    theorem = next(formula for formula in FORMULAS if formula.name == "Theorem 4")
    assert str(theorem).splitlines() == [
        "Theorem 4 (Zhang, Saxe & Latham (2025), Theorem 4)",
        "assumes: units that enter linearly, Gaussian small start, not all singular values of Σ_yz equal",
    ]


def test_a_prediction_says_values_or_why_there_are_none():
    found = theory.predictions(Landscape(small(Dense(linear, inputs=3, outputs=3)), half_squared_error, SPECTRAL))
    name, assumptions, values = str(found.named("Lemma 6 levels")).splitlines()
    assert name == "Lemma 6 levels (Baldi & Hornik (1989); Zhang, Saxe & Latham (2025), Lemma 6)"
    assert assumptions.startswith("assumes: two-layer linear network or merged attention")
    # Half of 4 + 1.4²/0.8 + 0.5²/1.3.
    assert values.startswith("levels = [3.32115e+00 1.32115e+00 9.61538e-02 ")
    assert str(found.named("jump process")).splitlines()[2] == (
        "not applicable, because the model is a TwoLayer, not a diagonal network"
    )
    table = str(found)
    assert table.split()[:2] == ["formula", "prediction"]
    assert table.count("not applicable, because") == len(found) - len(found.applicable)


def test_foreign_models_and_unknown_names():
    foreign, data = problem("foreign")
    found = theory.predictions(Landscape(foreign, mean_squared_error, data))
    assert not len(found.applicable)
    assert "Foreign" in reason(found.named("Lemma 6 levels"))
    with pytest.raises(ValueError, match="unknown formula 'Lemma 7'; there are: Lemma 6 levels"):
        found.named("Lemma 7")
