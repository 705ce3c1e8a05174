"""Where the files of a run go, and whether they can be written there."""

import tempfile
from pathlib import Path
from typing import Literal

import equinox as eqx

# PDF and SVG for papers: lines and text stay sharp at any size.
FigureFormat = Literal["png", "pdf", "svg"]


class OutputPaths(eqx.Module):
    """The files of one run.

    Attributes:
        figure: the figure (PNG, PDF or SVG).
        record: the record (JSON).
        trajectory: the trajectory (NPZ).
    """

    figure: Path
    record: Path
    trajectory: Path

    @property
    def all(self) -> tuple[Path, ...]:
        """All of them."""
        return self.figure, self.record, self.trajectory

    def __str__(self) -> str:
        return ", ".join(str(path) for path in self.all)


def output_paths(name: str, seed: int, folder: str | Path, *, figure_format: FigureFormat = "png") -> OutputPaths:
    """The files of a run in a folder.

    Args:
        name: name of the experiment.
        seed: its seed.
        folder: where they are to be.
        figure_format: of the figure, by default PNG.

    Returns:
        Their paths.
    """
    figure, record, trajectory = (
        Path(folder) / f"{name}-seed{seed}.{ending}" for ending in (figure_format, "json", "npz")
    )
    return OutputPaths(figure=figure, record=record, trajectory=trajectory)


def check_writable(*paths: Path) -> None:
    """Checks that files can be written, and makes their folders where there are none.

    Args:
        paths: the files, which may exist.

    Raises:
        ValueError: when a path is something other than a file, such as a folder, or its folder cannot be written to.
    """
    for folder in dict.fromkeys(path.parent for path in paths):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ValueError(f"cannot write to the folder {folder}: {error.strerror or error}.") from error
    for path in paths:
        if path.exists() and not path.is_file():
            raise ValueError(f"cannot write {path}: it is {'a folder' if path.is_dir() else 'not a file'}.")
