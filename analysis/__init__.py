"""Second floor: what happened. A trajectory becomes visits to critical points, and these a report."""

from typing import TYPE_CHECKING

from . import theory as theory
from .critical_points.certificate import certificate as certificate
from .critical_points.classify import classify as classify
from .critical_points.critical_point import critical_point as critical_point
from .critical_points.high_index import high_index_saddle as high_index_saddle
from .critical_points.high_index import saddle_below as saddle_below
from .critical_points.null_space import null_space as null_space
from .critical_points.slow_point import flat_channel as flat_channel
from .critical_points.slow_point import ghost as ghost
from .curvature.matrix_free import extreme_eigenpairs as extreme_eigenpairs
from .curvature.matrix_free import spectral_density as spectral_density
from .curvature.parts import hessian_block as hessian_block
from .curvature.parts import inertia as inertia
from .curvature.spectrum import hessian as hessian
from .curvature.spectrum import spectrum as spectrum
from .embeddings.counting import copies_manifolds as copies_manifolds
from .embeddings.counting import zero_loss_manifolds as zero_loss_manifolds
from .embeddings.embed import embed as embed
from .embeddings.embedded_curvature import embedded_spectrum as embedded_spectrum
from .embeddings.identify import identify as identify
from .embeddings.identify import sample_family as sample_family
from .embeddings.reduction import reduce as reduce
from .embeddings.width import effective_width as effective_width
from .invariant_manifolds.history import manifold_history as manifold_history
from .invariant_manifolds.projection import project as project
from .invariant_manifolds.restriction import restricted_flow as restricted_flow
from .leading_order.added_unit import added_unit_form as added_unit_form
from .leading_order.null_space_form import null_space_form as null_space_form
from .observables.attention_patterns import attention_patterns as attention_patterns
from .observables.eigenpairs import tracked_eigenpairs as tracked_eigenpairs
from .observables.eigenvalue_crossings import eigenvalue_crossings as eigenvalue_crossings
from .observables.observable import Observable as Observable
from .observables.observable import Quantity as Quantity
from .observables.observe import observe as observe
from .observables.tangent_kernel import tangent_kernel as tangent_kernel
from .observables.tangent_kernel import tangent_kernel_spectrum as tangent_kernel_spectrum
from .observables.units_in_use import units_in_use as units_in_use
from .observables.weights import effective_rank as effective_rank
from .observables.weights import stable_rank as stable_rank
from .observables.weights import weight_norms as weight_norms
from .orbits.connections import follow as follow
from .orbits.escape_directions import escape_directions as escape_directions
from .orbits.heteroclinic import heteroclinic_orbit as heteroclinic_orbit
from .orbits.saddle_graph import saddle_graph as saddle_graph
from .orbits.unstable_manifold import unstable_manifold as unstable_manifold
from .symmetries.audit import conservation_audit as conservation_audit
from .symmetries.symmetry import symmetry_directions as symmetry_directions
from .thresholds import Thresholds as Thresholds
from .visits.comparison import compare as compare
from .visits.itinerary import itinerary as itinerary

if TYPE_CHECKING:
    from .figures.comparison import plot_comparison as plot_comparison
    from .figures.film import animate as animate
    from .figures.film import save_film as save_film
    from .figures.invariant_manifolds import plot_manifolds as plot_manifolds
    from .figures.itinerary import plot as plot
    from .figures.itinerary import plot_loss as plot_loss
    from .figures.itinerary import plot_spectrum as plot_spectrum
    from .figures.itinerary import plot_speed as plot_speed
    from .figures.itinerary import plot_units as plot_units
    from .figures.observables import plot_observable as plot_observable
    from .figures.observables import plot_observables as plot_observables
    from .figures.saddle_graph import plot_saddle_graph as plot_saddle_graph

# What imports matplotlib, which takes half a second, is itself imported when it is first asked for.
_FIGURES = {
    "animate": ".figures.film",
    "save_film": ".figures.film",
    "plot": ".figures.itinerary",
    "plot_comparison": ".figures.comparison",
    "plot_loss": ".figures.itinerary",
    "plot_spectrum": ".figures.itinerary",
    "plot_speed": ".figures.itinerary",
    "plot_units": ".figures.itinerary",
    "plot_saddle_graph": ".figures.saddle_graph",
    "plot_observable": ".figures.observables",
    "plot_observables": ".figures.observables",
    "plot_manifolds": ".figures.invariant_manifolds",
}

# Hidden from type checkers, which would take every name for one that `__getattr__` knows.
if not TYPE_CHECKING:
    __all__ = [*(name for name in globals() if name[0] != "_" and name != "TYPE_CHECKING"), *_FIGURES]

    def __getattr__(name: str):
        from importlib import import_module

        if name not in _FIGURES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_FIGURES[name], __name__), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
