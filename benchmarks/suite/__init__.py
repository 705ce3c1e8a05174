"""What the benchmark scripts share: problems, solvers behind one signature, measurement, reports.

The scripts above import it as `suite`; it imports saddlescope and, where a solver asks for them, other libraries.
"""
