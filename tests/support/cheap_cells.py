"""Cells that cost nothing, computed where their test says: each computation is a line of a file."""

import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import xarray as xr


def log_of(configuration):
    return Path(configuration.parameters["log"])


def cell(configuration):
    """Numbers that only the configuration decides; a ragged dimension; `trouble` as the parameters ask for."""
    with open(log_of(configuration), "a") as log:
        log.write(f"{configuration.identifier} {os.getpid()} {os.getpgid(0)}\n")
    settings = configuration.parameters
    time.sleep(settings.get("pause", 0.0))
    if settings.get("trouble") == "fails":
        raise ArithmeticError("this configuration\nalways fails")
    if settings.get("trouble") == "dies":
        os.kill(os.getpid(), 9)
    if settings.get("trouble") == "dies once" and configuration.identifier in log_of(configuration).read_text():
        if log_of(configuration).read_text().count(configuration.identifier) == 1:
            os.kill(os.getpid(), 9)
    x = settings.get("x", 1)
    seeds = np.array(configuration.seeds)
    visits = 1 + x % 3
    loss = np.sin(np.add.outer(seeds + 0.1 * x, np.arange(visits)))
    kinds = np.array([["saddle", "strict saddle", "minimum"][(seed + x) % 3] for seed in seeds])
    return xr.Dataset(
        {
            "loss": (("seed", "visit"), loss),
            "index": (("seed", "visit"), np.full((len(seeds), visits), x, np.int32)),
            "result": (("seed",), kinds),
            "censored": (("seed",), seeds % 2 == 0),
        }
    )


def computations(log):
    """How often each cell was computed, by a log."""
    return Counter(line.split()[0] for line in log.read_text().splitlines())


def contents(folder):
    """Name and bytes of each file that a sweep is there for."""
    return {path.name: path.read_bytes() for path in (folder / "cells").iterdir()}
