"""An ensemble that several tests integrate in ways of their own, from the command line: `python chains.py FILE`.

With `--process K PORT` it is process number K of two that integrate it together.
"""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


class Chain(eqx.Module):
    """The scalar network a b x."""

    a: jax.Array
    b: jax.Array


def chain(key=0, scale=1.0):
    a, b = scale * np.random.default_rng(key).standard_normal(2)
    return Chain(jnp.asarray(a), jnp.asarray(b))


def squared(model, data):
    """Stiff at the end of a long flow."""
    return jnp.sum((model.a * model.b - data) ** 2) / 2


def integrated(method, **settings):
    """Flows of which some take many more steps than others, and one solver's change."""
    from saddlescope.flows import ensemble

    scales = {"grid": {"scale": [1e-3, 0.1, 1.0]}, "keys": range(3)}
    return ensemble(chain, squared, 1.0, t1=1e5, method=method, **scales, **settings)


def columns(found):
    """Times and final weights of all members, and the names of their results and solvers."""
    arrays = {f"ts-{k}": member.ts for k, member in enumerate(found.members)}
    names = [f"{member.result.name} {member.stats['solver_history'][-1][1]}" for member in found.members]
    return arrays | {"thetas": np.stack([member.thetas[-1] for member in found.members]), "names": np.array(names)}


if __name__ == "__main__":
    if "--process" in sys.argv:
        number, port = sys.argv[sys.argv.index("--process") + 1 :][:2]
        jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=int(number))
    found = integrated("parallel")
    np.savez(sys.argv[1], devices=jax.local_device_count(), processes=jax.process_count(), **columns(found))
