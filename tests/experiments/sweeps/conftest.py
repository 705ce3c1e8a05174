"""What the tests of sweeps share."""

import pytest


@pytest.fixture
def log(tmp_path):
    """A file in which cells note that they were computed."""
    path = tmp_path / "log"
    path.touch()
    return path
