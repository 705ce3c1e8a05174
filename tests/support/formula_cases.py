"""Networks with small weights and a spectral problem, to which formulas are applied."""

import jax
import numpy as np
import pytest
from saddlescope.experiments import spectral_regression
from saddlescope.models import TwoLayer

STRENGTHS, VARIANCES = np.array([2.0, 1.4, 0.5]), np.array([1.0, 0.8, 1.3])
SPECTRAL = spectral_regression(STRENGTHS, VARIANCES, key=jax.random.key(4))


def small(architecture, width=4, scale=1e-4, seed=0):
    return TwoLayer(architecture, width=width, scale=scale, key=jax.random.key(seed))


def reason(prediction):
    """Why a formula does not apply."""
    assert not prediction.applicable and not prediction.values
    with pytest.raises(ValueError, match="not applicable, because"):
        prediction["levels"]
    return prediction.reason
