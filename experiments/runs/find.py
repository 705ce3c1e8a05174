"""The runs that a file or a folder holds."""

from pathlib import Path
from typing import Any

from ...flows.simulation.trajectory import read_header


def runs_in(path: str | Path) -> tuple[Path, ...]:
    """The trajectories of the runs that were written to a folder, or of the run that a file belongs to.

    Args:
        path: a folder; or one of the files of a run, of which its trajectory lies beside it.

    Returns:
        The NPZ files, in the order of their names.

    Raises:
        ValueError: when there is no run.
    """
    path = Path(path)
    if path.is_dir():
        found = tuple(file for file in sorted(path.glob("*.npz")) if _header(file) is not None)
        if not found:
            raise ValueError(f"the folder {path} holds no run: no trajectory (NPZ) that `saddlescope run` wrote.")
        return found
    trajectory = path.with_suffix(".npz")
    if not trajectory.is_file():
        raise ValueError(
            f"there is no run {path}: {trajectory} does not exist; give a folder or file of `saddlescope run`."
        )
    if _header(trajectory) is None:
        raise ValueError(f"{trajectory} is not the trajectory of an experiment, as `saddlescope run` writes it.")
    return (trajectory,)


def _header(path: Path) -> dict[str, Any] | None:
    """The header of an experiment's trajectory; `None` for any other file."""
    try:
        header = read_header(path)
    except ValueError:
        return None
    return header if "experiment" in header else None
