"""A flow under way, in a file: what was computed and all that the next step depends on."""

import hashlib
import re
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Shaped

from ...models.arguments import file_path
from .. import files
from ..compilation.traced import Traced
from ..landscapes.landscape import Landscape
from .patience import OutOfTime
from .result import Result
from .saved import checked_steps
from .steps import FIELDS

FORMAT = 5
# Seconds between two checkpoints: what a kill costs at most.
INTERVAL = 60.0
# Addresses of objects differ from one process to the next.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
# Writing may take this share of the time, however large the file.
SHARE = 0.05


def fingerprint(
    landscape: Landscape, solver: Any, sign_changes: Mapping[str, Traced], **settings: Any
) -> dict[str, str]:
    """Identifies a flow by all that it is a function of.

    Args:
        landscape: the landscape, with the initial weights.
        solver: the solver given to `simulate`.
        sign_changes: the functions whose sign changes are recorded, traced, by name.
        **settings: all other settings.

    Returns:
        Part by part: hashes of arrays and of what functions compute, values of settings.
    """
    return {
        "initial weights": _hash(landscape.theta),
        "data": _hash(landscape.data),
        "loss": _computed(landscape.program),
        "solver": _ADDRESS.sub("", repr(solver)),
        "sign_changes": repr({name: _computed(function) for name, function in sorted(sign_changes.items())}),
        **{key: repr(value) for key, value in settings.items()},
    }


def _computed(function: Traced) -> str:
    return _hash(function.constants, _ADDRESS.sub("", function.program.text))


def _hash(tree: Any, text: str = "") -> str:
    digest = hashlib.sha256(text.encode())
    for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array_like)):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


class Checkpoint:
    """Writes a flow's state now and then, and reads it back.

    Args:
        path: the file.
        identity: the flow's `fingerprint`.

    Raises:
        ValueError: when the path is a folder, or in none.
    """

    path: Path
    identity: dict[str, str]

    def __init__(self, path: str | Path, identity: dict[str, str]):
        self.path, self.identity = file_path("checkpoint", path), identity
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise ValueError(f"a checkpoint is a file in a folder that exists; got {path}.")
        self._due = time.monotonic() + INTERVAL

    def read(self) -> tuple[dict[str, Any], dict[str, Shaped[np.ndarray, "..."]]] | None:
        """Reads the saved state.

        Returns:
            Values and arrays; `None` where there is no file.

        Raises:
            ValueError: when the file is no checkpoint, or that of another flow.
        """
        if not self.path.exists():
            return None
        header, arrays = files.read(self.path, "checkpoint", FORMAT)
        saved = header.get("identity")
        if not isinstance(saved, dict):
            raise ValueError(f"{self.path} is a damaged checkpoint. Delete it to start again.")
        different = [name for name in self.identity if saved.get(name) != self.identity[name]]
        if different:
            raise ValueError(
                f"{self.path} is the checkpoint of another flow: {', '.join(different)} differ. "
                "Give the arguments of that flow, or another path."
            )
        return header, arrays

    def resume(self, restore: Callable[..., Result | None], t1: float) -> Result | None:
        """Continues from the saved state, where there is one.

        Args:
            restore: takes up values and arrays; may return the result of a flow that is over.
            t1: end of the flow's time interval.

        Returns:
            The result of a flow that is over, else `None`.

        Raises:
            OutOfTime: when the budget is spent.
            ValueError: when the file is no checkpoint, that of another flow or of a longer one, or damaged.
        """
        saved = self.read()
        if saved is None:
            return None
        state, arrays = saved
        try:
            last, _ = (checked_steps({field: arrays[f"{run}-{field}"] for field in FIELDS}) for run in ("last", "kept"))
            if last.ts[-1] <= t1:
                return restore(state, arrays)
        except OutOfTime:
            raise
        except Exception as error:  # what somebody else wrote can fail in any way
            raise ValueError(f"{self.path} is a damaged checkpoint. Delete it to start again.") from error
        raise ValueError(f"the checkpoint has reached t = {last.ts[-1]:g}, beyond t1={t1:g}.")

    def write(self, state: dict[str, Any], arrays: dict[str, Shaped[np.ndarray, "..."]]) -> None:
        """Writes the state now; where that fails, warns and leaves the old file intact, so that the flow goes on."""
        began = time.monotonic()
        header = {"kind": "checkpoint", "format": FORMAT, "identity": self.identity, **state}
        try:
            files.write(self.path, header, arrays, compress=False)
        except OSError as error:
            warnings.warn(f"the flow goes on without a new checkpoint: {error}", stacklevel=2)
        now = time.monotonic()
        self._due = now + max(INTERVAL, (now - began) / SHARE)

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() > self._due
