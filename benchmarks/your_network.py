"""How long does the itinerary of a network of one's own take, in a fresh process with an empty folder for programs?

Each network is a module as people write it, with a loss of their own, from small initial weights: the failures that a
first user met (perceptrons with biases and an activation of their own, iris with and without weight decay, a
convolutional network, one block of a transformer, a recurrent network, digits) and the kinds that `units_of` is tested
with. Printed are the table, seconds of the processor from the start of the process on, imports included, and the peak
of memory. Wanted: 60 seconds below 3000 parameters, 120 for digits 64–50–10. On two cores of virtual machines (2026-12)
they took 4 to 25 seconds on a fast one and 7 to 46 on a slow one (a block of a transformer most), digits 22 and 25, and
0.3 to 0.6 GiB. Networks of ReLU units with biases soon slide along a kink, where their flows end.

Run: `python benchmarks/your_network.py [--network gru iris …]`.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro

from suite.own_networks import NETWORKS

LIMIT = 600  # seconds of the clock for each


def solve(name: str) -> None:
    """Prints the itinerary of one network, in this process."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from saddlescope.analysis import itinerary
    from saddlescope.flows import flatten, keep_compiled, simulate

    keep_compiled()
    model, loss, data, t1 = NETWORKS[name]()
    flow = simulate(model, loss, data, t1=t1)
    began = time.process_time()
    print(f"{name}: {flatten(model).size} parameters, {flow.result.value} at t = {flow.ts[-1]:.4g}")
    print(itinerary(flow))
    took, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{took:.1f} s of the processor, of which the itinerary {took - began:.1f}; {peak:.2f} GiB", flush=True)


def main(network: tuple[str, ...] = tuple(NETWORKS)) -> None:
    """Prints the itineraries.

    Args:
        network: names of networks.
    """
    unknown = set(network) - set(NETWORKS)
    if unknown:
        raise SystemExit(f"networks are {', '.join(NETWORKS)}; got {', '.join(unknown)}.")
    for name in network:
        with tempfile.TemporaryDirectory() as cache:
            environment = os.environ | {"SADDLESCOPE_CACHE": cache}
            environment |= {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
            program = f"from your_network import solve; solve({name!r})"
            try:
                subprocess.run([sys.executable, "-c", program], env=environment, timeout=LIMIT, check=False)
            except subprocess.TimeoutExpired:
                print(f"{name}: not done after {LIMIT} s of the clock")


if __name__ == "__main__":
    tyro.cli(main)
