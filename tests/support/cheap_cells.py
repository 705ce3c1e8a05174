"""Cells that cost nothing, computed where their test says: each computation is a line of a file."""

import functools
import os
import time
from collections import Counter
from pathlib import Path

import jax
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


@functools.cache
def compilations():
    """A list that gets longer with each program that this process finds nowhere, and compiles."""
    found = []
    jax.monitoring.register_event_listener(lambda event, **_: found.append(event) if "cache_misses" in event else None)
    return found


@jax.jit
def _sum_of_squares(x):
    return (x**2).sum()


def compiling_cell(configuration):
    """One program for each width; each computation is a line with the number of programs that were compiled for it."""
    before = len(compilations())
    total = _sum_of_squares(np.arange(configuration.parameters["width"]) * configuration.parameters["factor"])
    time.sleep(0.2)
    with open(log_of(configuration), "a") as log:
        log.write(f"{configuration.identifier} {os.getpid()} {len(compilations()) - before}\n")
    return xr.Dataset({"total": (("seed",), np.full(len(configuration.seeds), float(total)))})


def computations(log):
    """How often each cell was computed, by a log."""
    return Counter(line.split()[0] for line in log.read_text().splitlines())


def contents(folder):
    """Name and bytes of each file that a sweep is there for."""
    return {path.name: path.read_bytes() for path in (folder / "cells").iterdir()}
