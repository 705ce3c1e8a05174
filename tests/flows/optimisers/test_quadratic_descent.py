r"""Gradient descent on an isotropic quadratic, $\theta_k = (1 - \eta c)^k \theta_0$: every record in closed form."""

import numpy as np
import pytest
from saddlescope.flows import descend, gradient_descent

from separable import separable

CURVATURE, STEP, START = 1.5, 0.1, np.array([2.0, -1.0, 2.0])


@pytest.mark.parametrize(("t1", "steps"), [(3 * STEP, 3), (0.3, 3), (0.31, 4), (1.05, 11)])
def test_steps_and_energies(t1, steps):
    r"""As many steps as reach t1, three to 0.1 + 0.1 + 0.1 though that is more than 0.3, and $\int \|\nabla L\|^2 dt$.

    By the trapezoid rule it is $\eta c^2 \|\theta_0\|^2 (1 + q^2)(1 - q^{2k}) / 2(1 - q^2)$ with $q = 1 - \eta c$."""
    landscape = separable(*3 * ([0, 0, CURVATURE / 2],), at=START, seed=0)
    path = descend(
        landscape.model, landscape.loss, landscape.data, optimiser=gradient_descent(STEP), t1=t1, records=100
    )
    k, q = np.arange(steps + 1), 1 - STEP * CURVATURE
    assert len(path.ts) == steps + 1 and path.stats["num_steps"] == steps
    np.testing.assert_allclose(path.ts, STEP * k, rtol=1e-12)
    sizes = 3.0 * q**k
    np.testing.assert_allclose(path.speeds, CURVATURE * sizes, rtol=1e-12)
    np.testing.assert_allclose(path.losses, CURVATURE * sizes**2 / 2, rtol=1e-12)
    energies = STEP * CURVATURE**2 * 9.0 * (1 + q**2) * (1 - q ** (2 * k)) / (2 * (1 - q**2))
    np.testing.assert_allclose(path.energies, energies, rtol=1e-12)
    # How far from a gradient flow it is: by what the energy exceeds the drop of the loss, most at the end.
    worst = abs(path.losses[0] - path.losses[-1] - energies[-1]) / path.losses[0]
    assert path.energy_error == pytest.approx(worst, rel=1e-9) and worst > 1e-3
