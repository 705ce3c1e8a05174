"""`saddlescope animate [RUN …]`: films of weights and loss."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..catalogue import EXPERIMENTS, FILMS
from ..terminal import Stopped, complain, ending_on_signals, tell
from .exits import BY_SIGNAL, NOT_WRITTEN, configure, keep

if TYPE_CHECKING:
    from ..experiments.setups.experiment import Setup
    from ..flows import Trajectory


@dataclass
class Animate:
    """Make films of weights and loss that move together."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional] = FILMS
    """Folders or files that `saddlescope run` wrote, or names of experiments, whose flows are then integrated; none:
    the eight of Figures 1 and 4."""
    out: Path = Path("films")
    """Folder for the films."""
    format: Literal["mp4", "gif"] | None = None
    """By default MP4 where there is ffmpeg (`pip install "saddlescope[film]"`), else GIF."""


def make_films(command: Animate) -> int:
    """Does what the command says; returns the exit status."""
    unknown = [run for run in command.runs if run not in EXPERIMENTS and not Path(run).exists()]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is neither an experiment (`saddlescope list`) nor a file or folder of a run.")
    configure()
    from ..analysis.figures.film import film_format
    from ..experiments.runs.outputs import check_writable

    ending = command.format or film_format()
    films = {command.out / f"{_stem(source)}.{ending}": source for run in command.runs for source in _sources(run)}
    check_writable(*films)
    written: list[Path] = []
    with ending_on_signals(Stopped) as signals:
        try:
            for path, source in films.items():
                written += keep(path, lambda path, source=source: _film(source, path))
                tell(f"wrote {path}")
        except Stopped:
            complain("interrupted; the films before are written.")
    return BY_SIGNAL + signals[0] if signals else 0 if len(written) == len(films) else NOT_WRITTEN


def _sources(run: str) -> tuple[str | Path, ...]:
    """An experiment's name, or the trajectories that a file or folder holds."""
    from ..experiments.runs.find import runs_in

    return (run,) if run in EXPERIMENTS else runs_in(run)


def _stem(source: str | Path) -> str:
    return source.stem if isinstance(source, Path) else source


def _film(source: str | Path, path: Path) -> None:
    """Makes one film."""
    import matplotlib.pyplot as plt

    from ..analysis import animate, save_film
    from ..experiments import experiment
    from ..flows.simulation.trajectory import read_header

    header: dict[str, Any] = read_header(source) if isinstance(source, Path) else {"experiment": source, "seed": 0}
    chosen = experiment(header["experiment"])
    settings = {key: header[key] for key in ("width", "scale", "t1") if key in header}
    setup = chosen.setup(header["seed"], **settings)
    film = animate(
        _flow(source, setup), levels=chosen.levels(setup.data), title=f"{chosen.name}, seed {header['seed']}"
    )
    save_film(film, path)
    plt.close("all")


def _flow(source: str | Path, setup: "Setup") -> "Trajectory":
    from ..experiments import load_trajectory
    from ..flows import simulate

    if isinstance(source, Path):
        return load_trajectory(source)
    return simulate(setup.model, setup.loss, setup.data, t1=setup.t1)
