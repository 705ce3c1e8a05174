import equinox as eqx, numpy as np
class CriticalFamily(eqx.Module):
    confirmed: bool
    reason: str
def critical_family(landscape, theta, spectral, *, basis, length=None, thresholds=None):
    from .null_space_probe import probe_null_space
    pr = probe_null_space(landscape, theta, spectral, weight_scale=1.0)
    ok = pr.gradient < 1e-9
    return CriticalFamily(ok, "temp")
