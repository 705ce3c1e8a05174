"""One cell or a group of them, computed and kept, in whatever process."""

import os
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx

from ..engines.worker import set_up, setting
from .cell import DamagedCell, load_cell, save_cell
from .configuration import Configuration
from .flow_cells import compute_cell
from .folder import Folder, write_json
from .provenance import provenance
from .session import Session

if TYPE_CHECKING:
    import xarray as xr

# A function of one's own that computes a cell: labelled arrays with a dimension `seed`.
Compute = Callable[[Configuration], "xr.Dataset"]


def run_or_load(configuration: Configuration, folder: str | Path, compute: Compute = compute_cell) -> "xr.Dataset":
    """The cell of a configuration: read where there is a whole one, otherwise computed and kept.

    Args:
        configuration: what is wanted.
        folder: the sweep's.
        compute: what computes it.

    Returns:
        The labelled arrays.
    """
    home = Folder(folder)
    with suppress(FileNotFoundError, DamagedCell):
        return load_cell(home.cell(configuration))
    home.prepare()
    save_cell(home.cell(configuration), configuration, compute(configuration), provenance(compute))
    home.failure(configuration).unlink(missing_ok=True)
    return load_cell(home.cell(configuration))


class Task(eqx.Module):
    """What a worker needs to know besides the configurations.

    Attributes:
        folder: the sweep's.
        compute: what computes a cell.
        session: for whom it works.
        provenance: versions and commit, for the cells.
        double: whether JAX computes in double precision.
        compiled: the folder of compiled programs that workers share; empty: none.
    """

    folder: Folder
    compute: Compute = eqx.field(static=True)
    session: Session
    provenance: dict[str, Any] = eqx.field(static=True)
    double: bool = eqx.field(static=True)
    compiled: str = eqx.field(static=True)

    def __call__(self, configurations: tuple[Configuration, ...]) -> str:
        """Computes the cells that are missing, one after the other.

        Args:
            configurations: of cells of one shape.

        Returns:
            Why it stopped before the end: the session was over, or a file could not be written; otherwise nothing.
        """
        if (self.session.host, self.session.pid) != (socket.gethostname(), os.getpid()):
            set_up(double=self.double, compiled=self.compiled)
        for each in configurations:
            if self.session.over:
                return "the sweep was ended"
            # Whole, since the survey has removed what is damaged: another sweep may have been faster.
            if self.folder.cell(each).exists():
                continue
            try:
                self._compute(each)
            except OSError as error:
                return str(error).removesuffix(".")
        return ""

    def _compute(self, configuration: Configuration) -> None:
        """Computes and keeps a cell, or the reason why there is none; an `OSError` where neither can be written."""
        try:
            cell = self.compute(configuration)
        except Exception as error:
            record_failure(self.folder, configuration, _reason(error), self.provenance, traceback.format_exc())
            return
        try:
            save_cell(self.folder.cell(configuration), configuration, cell, self.provenance)
        except ValueError as error:
            record_failure(self.folder, configuration, _reason(error), self.provenance)


def record_failure(
    folder: Folder, configuration: Configuration, reason: str, provenance: dict[str, Any], trace: str = ""
) -> None:
    """Writes down why a cell could not be computed.

    Args:
        folder: the sweep's.
        configuration: of the cell.
        reason: in one sentence.
        provenance: versions and commit.
        trace: where it happened.
    """
    facts = {"configuration": configuration.canonical, "reason": reason, "traceback": trace, **provenance}
    write_json(folder.failure(configuration), facts)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def task(folder: Folder, compute: Compute, session: Session, compiled: str) -> Task:
    """What the workers of a session in this process are told."""
    return Task(
        folder=folder,
        compute=compute,
        session=session,
        provenance=provenance(compute),
        double=bool(setting("enable_x64")),
        compiled=compiled,
    )
