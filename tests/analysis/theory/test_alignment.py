"""Early alignment of small ReLU units with two inputs, against the field of such a unit."""

import numpy as np
import pytest
from saddlescope.analysis import theory


def test_early_alignment_follows_the_field():
    """From a fine grid of directions, the field of a small unit leads to the predicted ones and no others."""
    x = np.stack([[-1.0, -0.4, 0.3, 1.2], np.ones(4)], axis=1)
    y = np.array([0.8, -0.6, 0.5, -0.3])
    for sign in (1, -1):
        predicted = theory.early_alignment(x, y, sign)
        angles = np.linspace(0, 2 * np.pi, 97)[:-1] + 0.01
        for _ in range(20_000):
            u = np.stack([np.cos(angles), np.sin(angles)])
            pulls = sign * x.T @ (y[:, None] * (x @ u > 0)) / 4
            angles = angles + 2e-3 * (pulls[1] * u[0] - pulls[0] * u[1])
        moved = np.abs(pulls[1] * u[0] - pulls[0] * u[1]) > 0
        ends = angles[moved] % (2 * np.pi)
        distances = np.abs(ends[:, None] - predicted.angles)
        assert np.max(np.min(distances, axis=1)) < 2e-3
        assert set(np.argmin(distances, axis=1)) == set(range(len(predicted.angles)))
        assert np.all(predicted.boundary)


def test_early_alignment_on_orthogonal_inputs_is_towards_the_samples():
    """No sliding: units of each sign turn to the sample whose target has it."""
    x, y = np.array([[1.0, 0.5], [-1.0, 2.0]]), np.array([1.0, -1.0])
    for sign, sample in ((1, x[0]), (-1, x[1])):
        found = theory.early_alignment(x, y, sign)
        np.testing.assert_allclose(found.angles, [np.arctan2(sample[1], sample[0])])
        assert not np.any(found.boundary)
    with pytest.raises(ValueError, match="two inputs"):
        theory.early_alignment(np.ones((2, 3)), y, 1)
    with pytest.raises(ValueError, match="must be 1 or -1"):
        theory.early_alignment(x, y, 2)


def test_records_say_what_was_found():
    """Three jumps of an orthonormal design; two samples that attract, and a line with two sliding modes."""
    x = np.sqrt(3) * np.eye(3)
    lines = str(theory.jump_process(x, x @ np.array([2.0, -0.5, 1.0]))).splitlines()
    assert lines[0] == "jump process of 3 coordinates: 3 jumps"
    assert lines[1] == "start: loss 2.625, active [], index 3"
    assert lines[2] == "t/ln(1/α) = 0.5: loss 0.625, active [0], index 2"
    assert lines[4] == "t/ln(1/α) = 2: loss 0, active [0, 1, 2], index 0"
    one = theory.early_alignment(np.array([[1.0, 0.5], [-1.0, 2.0]]), np.array([1.0, -1.0]), 1)
    assert str(one).splitlines() == ["small units turn to 1 direction", "angle 0.46365: an extremal vector"]
    line = np.stack([[-1.0, -0.4, 0.3, 1.2], np.ones(4)], axis=1), np.array([0.8, -0.6, 0.5, -0.3])
    first, *rest = str(theory.early_alignment(*line, 1)).splitlines()
    assert first == "small units turn to 2 directions"
    assert len(rest) == 2 and all(text.endswith(": a kink, along which units slide") for text in rest)
