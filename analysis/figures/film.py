"""A film of weights and loss that move together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.animation import AbstractMovieWriter, FFMpegWriter, FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from ...flows import Trajectory
from ...flows.files import replacing
from ..found_units import with_units_along
from ..visits.visit import Visit
from .frames import Frames, frames
from .itinerary import plot_loss
from .planes import Plane, planes
from .style import COLOURS, FONT, label

FilmFormat = Literal["mp4", "gif"]

# Seven seconds, most of which are transitions.
PICTURES, PER_SECOND = 100, 14
# Planes of weight space beside the loss, each this many inches wide and high.
PLANES, SIDE = 2, 3.2
DPI = 100


class _FFMpeg(FFMpegWriter):
    """ffmpeg on the search path or else, where it is installed, from imageio-ffmpeg."""

    @classmethod
    def isAvailable(cls) -> bool:  # noqa: N802 matplotlib's name
        """Whether there is one."""
        try:
            return super().isAvailable() or bool(cls.bin_path())
        except (ImportError, RuntimeError):
            return False

    @classmethod
    def bin_path(cls) -> str:
        """The path of the program."""
        if FFMpegWriter.isAvailable():
            return super().bin_path()
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()


def film_format() -> FilmFormat:
    """What films are written as by default: MP4 where there is ffmpeg, else GIF."""
    return "mp4" if _FFMpeg.isAvailable() else "gif"


def animate(
    trajectory: Trajectory, visits: Sequence[Visit] = (), *, levels: Sequence[float] = (), title: str = ""
) -> FuncAnimation:
    """A film of the units in weight space beside the loss, slow where much happens.

    The pictures are saved states at equal distances in time, loss and weights together. Each unit draws a trail.

    Args:
        trajectory: the flow.
        visits: its itinerary, whose visits are marked on the loss.
        levels: plateau losses predicted by theory.
        title: above the loss.

    Returns:
        The film; `save_film` writes it, and a notebook shows its `to_jshtml()`.
    """
    flow = with_units_along(trajectory)
    chosen = frames(flow, visits, count=PICTURES)
    drawn = planes(flow.initial_model, chosen.thetas, most=PLANES)
    count = len(drawn) + 1
    figure, axes = plt.subplots(1, count, figsize=(SIDE * count + 0.6, SIDE + 0.3), squeeze=False, layout="constrained")
    moving = [
        *(_Units(plane, ax) for plane, ax in zip(drawn, axes[0], strict=False)),
        _Loss(chosen, visits, levels, title, axes[0, -1]),
    ]
    # Laying the page out anew for each picture would take most of the time.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return FuncAnimation(
        figure,
        lambda frame: [artist for each in moving for artist in each.show(int(frame))],
        frames=len(chosen.indices),
        interval=1000 / PER_SECOND,
    )


def save_film(film: FuncAnimation, path: str | Path) -> None:
    """Writes a film, whole or not at all.

    Args:
        film: by `animate`.
        path: ends in `.mp4`, for which there must be ffmpeg, or in `.gif`.

    Raises:
        ValueError: for another ending, and where there is no ffmpeg.
    """
    path = Path(path)
    if path.suffix not in (".mp4", ".gif"):
        raise ValueError(f"a film is written as .mp4 or .gif; got {path.name}.")
    if path.suffix == ".mp4" and not _FFMpeg.isAvailable():
        raise ValueError('there is no ffmpeg for .mp4: pip install "saddlescope[film]", or write a .gif.')
    writer: AbstractMovieWriter = PillowWriter(PER_SECOND) if path.suffix == ".gif" else _FFMpeg(PER_SECOND)
    with replacing(path) as partial:
        # The writers know the format by the ending.
        named = partial.with_name(partial.name + path.suffix)
        try:
            film.save(str(named), writer=writer, dpi=DPI)
            named.replace(partial)
        finally:
            named.unlink(missing_ok=True)


class _Units:
    """The units in one plane, with their rays from the origin and their trails."""

    def __init__(self, plane: Plane, ax: Axes):
        self.points = plane.points
        side = 1.08 * max(float(np.max(np.abs(plane.points), initial=0.0)), 1e-12)
        style: dict[str, Any] = {"colors": COLOURS[0], "linewidths": 0.7}
        self.trails, self.rays = (LineCollection([], alpha=alpha, **style) for alpha in (0.35, 0.6))
        ax.add_collection(self.trails)
        ax.add_collection(self.rays)
        (self.dots,) = ax.plot([], [], "o", color=COLOURS[0], ms=4)
        ax.axhline(0, color="0.85", lw=0.6, zorder=0)
        ax.axvline(0, color="0.85", lw=0.6, zorder=0)
        ax.set(xlim=(-side, side), ylim=(-side, side), aspect="equal")
        ax.set_title(plane.title, fontsize=FONT)
        label(ax, *plane.axes)

    def show(self, frame: int) -> list[Any]:
        """Moves them to a picture."""
        now = self.points[frame]
        self.dots.set_data(now[:, 0], now[:, 1])
        self.rays.set_segments(list(np.stack([np.zeros_like(now), now], axis=1)))
        self.trails.set_segments(list(np.swapaxes(self.points[: frame + 1], 0, 1)))
        return [self.trails, self.rays, self.dots]


class _Loss:
    """The loss up to now, over the whole of it."""

    def __init__(self, chosen: Frames, visits: Sequence[Visit], levels: Sequence[float], title: str, ax: Axes):
        flow = chosen.trajectory
        self.ts: Float[np.ndarray, " F"] = chosen.clock(chosen.ts)
        self.losses = flow.losses[chosen.indices]
        plot_loss(flow, visits, levels=levels, logarithmic=chosen.logarithmic, ax=ax)
        (self.dot,) = ax.plot([], [], "o", color=COLOURS[1], ms=7, zorder=5)
        (self.past,) = ax.plot([], [], color=COLOURS[1], lw=2, zorder=4)
        ax.set_title(title, fontsize=FONT, loc="left")

    def show(self, frame: int) -> list[Any]:
        """Moves the dot to a picture."""
        self.past.set_data(self.ts[: frame + 1], self.losses[: frame + 1])
        self.dot.set_data(self.ts[[frame]], self.losses[[frame]])
        return [self.past, self.dot]
