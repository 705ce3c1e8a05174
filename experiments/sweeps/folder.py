"""The folder of a sweep: which cells are planned, done, failed, damaged or missing."""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import equinox as eqx

from ...flows.files import replacing
from ..runs.outputs import check_writable
from .cell import DamagedCell, read_header, temporary_ending
from .configuration import Configuration, from_canonical

# How many differences or damaged files a line names.
NAMED = 3


class Folder(eqx.Module):
    """Where the files of a sweep are.

    Attributes:
        path: the folder. `cells` below it holds the results, one file for each configuration, `failures` the reasons
            of those that could not be computed, `sessions` who is at work, and `plan.json` what was last asked for.
    """

    path: Path = eqx.field(static=True)

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()

    @property
    def cells(self) -> Path:
        """Where the cells are."""
        return self.path / "cells"

    @property
    def failures(self) -> Path:
        """Where the reasons of failed cells are."""
        return self.path / "failures"

    @property
    def sessions(self) -> Path:
        """Where those that are at work say so."""
        return self.path / "sessions"

    @property
    def plan(self) -> Path:
        """What was last asked for."""
        return self.path / "plan.json"

    def cell(self, configuration: Configuration) -> Path:
        """The file of a cell."""
        return self.cells / f"{configuration.identifier}.npz"

    def failure(self, configuration: Configuration) -> Path:
        """The file that says why a cell could not be computed."""
        return self.failures / f"{configuration.identifier}.json"

    def prepare(self) -> None:
        """Makes the folders; a `ValueError` where they cannot be written to."""
        check_writable(*(folder / "file" for folder in (self.path, self.cells, self.failures, self.sessions)))

    def __str__(self) -> str:
        return str(self.path)


class Survey(eqx.Module):
    """What a folder holds of some configurations.

    Attributes:
        done: those with a whole cell.
        missing: those without, in order.
        damaged: files that are no whole cells; their configurations are among the missing.
        provenances: different versions and commits of the cells, each with the number of cells.
    """

    done: tuple[Configuration, ...]
    missing: tuple[Configuration, ...]
    damaged: tuple[Path, ...]
    provenances: tuple[tuple[Mapping[str, Any], int], ...]

    def __str__(self) -> str:
        damaged = f", {len(self.damaged)} damaged" if self.damaged else ""
        return f"{len(self.done)} of {len(self.done) + len(self.missing)} cells done{damaged}"


def survey(folder: Folder, configurations: Iterable[Configuration]) -> Survey:
    """Reads all cells of some configurations, each to its end.

    Args:
        folder: the sweep's.
        configurations: what is wanted.

    Returns:
        What there is of them.
    """
    done: list[Configuration] = []
    missing: list[Configuration] = []
    damaged: list[Path] = []
    provenances: dict[str, int] = {}
    for each in configurations:
        try:
            header = read_header(folder.cell(each))
        except DamagedCell:
            damaged.append(folder.cell(each))
            missing.append(each)
        except FileNotFoundError:
            missing.append(each)
        else:
            done.append(each)
            text = json.dumps(provenance_of(header), sort_keys=True)
            provenances[text] = provenances.get(text, 0) + 1
    counted = tuple((json.loads(text), count) for text, count in provenances.items())
    return Survey(done=tuple(done), missing=tuple(missing), damaged=tuple(damaged), provenances=counted)


def provenance_of(header: Mapping[str, Any]) -> dict[str, Any]:
    """The versions and the commit that computed a cell, from its header."""
    return {name: header[name] for name in ("versions", "commit")}


def warn_of(found: Survey, now: Mapping[str, Any]) -> None:
    """Says in one line each which cells are damaged, and which were computed by other versions.

    Args:
        found: what a folder holds.
        now: versions and commit of this process.
    """
    if found.damaged:
        named = ", ".join(path.name for path in found.damaged[:NAMED]) + (", …" if len(found.damaged) > NAMED else "")
        told = f"cells of {found.damaged[0].parent} are damaged (truncated or corrupted) and will be computed again"
        warnings.warn(f"{len(found.damaged)} {told}: {named}.", stacklevel=3)
    for before, count in found.provenances:
        if changes := differences(before, now):
            named = ", ".join(changes[:NAMED]) + (", …" if len(changes) > NAMED else "")
            kept = "they are kept; delete them, or take another folder, to compute them again"
            warnings.warn(f"{count} cells were computed by other versions ({named}): {kept}.", stacklevel=3)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two provenances, in words: "jax 0.10.1 → 0.10.2"."""
    then, here = ({**each["versions"], "commit": each["commit"]} for each in (before, now))
    names = dict.fromkeys([*here, *then])
    short = {name: [_short(each.get(name) or "unknown") for each in (then, here)] for name in names}
    return [f"{name} {' → '.join(short[name])}" for name in names if then.get(name) != here.get(name)]


def _short(version: str) -> str:
    """A version as it is, a commit by its beginning and whether files were changed."""
    return version if len(version) <= 20 else version[:10] + "-dirty" * version.endswith("-dirty")


def write_plan(folder: Folder, configurations: Sequence[Configuration]) -> None:
    """Writes down what is asked for."""
    write_json(folder.plan, {"format": 1, "configurations": [each.canonical for each in configurations]})


def read_plan(folder: Folder) -> tuple[Configuration, ...]:
    """What was last asked for.

    Args:
        folder: the sweep's.

    Returns:
        The configurations.

    Raises:
        ValueError: when there is no sweep in the folder.
    """
    try:
        plan = json.loads(folder.plan.read_text())
        return tuple(from_canonical(each) for each in plan["configurations"])
    except FileNotFoundError:
        raise ValueError(f"there is no sweep in {folder}.") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder.plan} is not the plan of a sweep.") from error


def failures(folder: Folder, configurations: Iterable[Configuration]) -> list[tuple[Configuration, str]]:
    """The configurations that could not be computed, each with the reason."""
    found: list[tuple[Configuration, str]] = []
    for each in configurations:
        with suppress(OSError, ValueError, KeyError):
            found.append((each, json.loads(folder.failure(each).read_text())["reason"]))
    return found


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes plain values, whole or not at all, whoever else writes them."""
    with replacing(path, ending=temporary_ending()) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n")


def names_in(folder: Path) -> set[str]:
    """The identifiers of the files in a folder."""
    with suppress(OSError):
        return {path.stem for path in folder.iterdir() if path.suffix in (".npz", ".json")}
    return set()
