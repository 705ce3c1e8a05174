"""Every solver of ours within `jax.shard_map`: prints the name of each whose flows are those without it."""

import sys

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from saddlescope.flows.solvers.kvaerno import kvaerno5

from solver_cases import SOLVERS

RATES = jnp.array([1.0, 30.0, 300.0])


def flow(solver):
    """The flow of a quadratic loss with the energy beside it, to time 1."""

    def one(theta):
        field = lambda t, y, args: (-RATES * y[0], jnp.sum((RATES * y[0]) ** 2))  # noqa: E731
        controller = dfx.PIDController(rtol=1e-6, atol=1e-9)
        start = (theta, jnp.zeros(()))
        term = dfx.ODETerm(field)
        solution = dfx.diffeqsolve(term, solver, 0.0, 1.0, 1e-3, start, stepsize_controller=controller)
        return solution.ys[0][-1]

    return jax.vmap(one)


if __name__ == "__main__":
    assert jax.local_device_count() == 2
    mesh = Mesh(np.array(jax.local_devices()), ("lanes",))
    thetas = np.arange(1.0, 13.0).reshape(4, 3)
    exact = thetas * np.exp(-np.asarray(RATES))
    spec = PartitionSpec("lanes")
    for name, solver in [*((name, case.flow) for name, case in SOLVERS.items()), ("kvaerno5", kvaerno5())]:
        sharded = jax.shard_map(flow(solver), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
        np.testing.assert_allclose(jax.jit(sharded)(thetas), exact, rtol=0, atol=1e-4)
        print(name)
        sys.stdout.flush()
