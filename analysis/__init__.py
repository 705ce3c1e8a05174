"""Second floor: what happened. A trajectory becomes visits to critical points, and these a report."""

from typing import TYPE_CHECKING

from . import theory as theory
from .audit import ConservationAudit as ConservationAudit
from .audit import conservation_audit as conservation_audit
from .certificate import Certificate as Certificate
from .certificate import certificate as certificate
from .comparison import Comparison as Comparison
from .comparison import Plateau as Plateau
from .comparison import compare as compare
from .connections import Connection as Connection
from .connections import follow as follow
from .conservation import conserved_drift as conserved_drift
from .counting import copies_manifolds as copies_manifolds
from .counting import zero_loss_manifolds as zero_loss_manifolds
from .critical_point import CriticalPoint as CriticalPoint
from .critical_point import critical_point as critical_point
from .curvature import Spectrum as Spectrum
from .curvature import hessian as hessian
from .curvature import spectrum as spectrum
from .dormant import DormantForm as DormantForm
from .dormant import dormant_form as dormant_form
from .dormant import local_maximisers as local_maximisers
from .embedded_curvature import EmbeddedSpectrum as EmbeddedSpectrum
from .embedded_curvature import embedded_spectrum as embedded_spectrum
from .embedding import Embedding as Embedding
from .embedding import LayeredEmbedding as LayeredEmbedding
from .embedding import embed as embed
from .escape import Escape as Escape
from .exits import Exit as Exit
from .exits import exits as exits
from .hessian_parts import Inertia as Inertia
from .hessian_parts import hessian_block as hessian_block
from .hessian_parts import hessian_products as hessian_products
from .hessian_parts import inertia as inertia
from .hessian_parts import leaf_positions as leaf_positions
from .heteroclinic import HeteroclinicOrbit as HeteroclinicOrbit
from .heteroclinic import heteroclinic_orbit as heteroclinic_orbit
from .high_index import high_index_saddle as high_index_saddle
from .high_index import saddle_below as saddle_below
from .identify import Identification as Identification
from .identify import identify as identify
from .identify import sample_family as sample_family
from .itinerary import Itinerary as Itinerary
from .itinerary import Visit as Visit
from .itinerary import itinerary as itinerary
from .joint_form import JointForm as JointForm
from .joint_form import joint_form as joint_form
from .kind import kind as kind
from .lie_algebra import ConservedCount as ConservedCount
from .lie_algebra import conserved_count as conserved_count
from .lowest_form import LowestForm as LowestForm
from .lowest_form import lowest_form as lowest_form
from .lowest_form import third_order_form as third_order_form
from .manifolds import Departure as Departure
from .manifolds import ManifoldHistory as ManifoldHistory
from .manifolds import SplitSpectrum as SplitSpectrum
from .manifolds import broken_constraints as broken_constraints
from .manifolds import manifold_history as manifold_history
from .manifolds import split_spectrum as split_spectrum
from .matrix_free import Eigenpairs as Eigenpairs
from .matrix_free import SpectralDensity as SpectralDensity
from .matrix_free import extreme_eigenpairs as extreme_eigenpairs
from .matrix_free import spectral_density as spectral_density
from .null_space import NullSpace as NullSpace
from .null_space import null_space as null_space
from .projection import distances_to_widths as distances_to_widths
from .projection import project as project
from .reduction import reduce as reduce
from .reduction import reduce_layers as reduce_layers
from .restriction import Restriction as Restriction
from .restriction import restricted_flow as restricted_flow
from .saddle_graph import SaddleGraph as SaddleGraph
from .saddle_graph import saddle_graph as saddle_graph
from .scales import Scales as Scales
from .slow_point import SlowPoint as SlowPoint
from .slow_point import flat_channel as flat_channel
from .slow_point import ghost as ghost
from .symmetry import symmetry_directions as symmetry_directions
from .symmetry import unit_symmetries as unit_symmetries
from .unstable_manifold import ManifoldSample as ManifoldSample
from .unstable_manifold import unstable_manifold as unstable_manifold
from .verdict import Kind as Kind
from .visits import Passage as Passage
from .visits import closest_approaches as closest_approaches
from .visits import passages as passages
from .width import EffectiveWidth as EffectiveWidth
from .width import effective_width as effective_width
from .width import effective_widths as effective_widths

if TYPE_CHECKING:
    from .figure import plot as plot
    from .figure import plot_comparison as plot_comparison
    from .figure import plot_loss as plot_loss
    from .figure import plot_spectrum as plot_spectrum
    from .figure import plot_speed as plot_speed
    from .figure import plot_units as plot_units
    from .graph_figure import plot_saddle_graph as plot_saddle_graph
    from .manifold_figure import plot_manifolds as plot_manifolds

# What imports matplotlib, which takes half a second, is itself imported when it is first asked for.
_FIGURES = {
    "plot": ".figure",
    "plot_comparison": ".figure",
    "plot_loss": ".figure",
    "plot_spectrum": ".figure",
    "plot_speed": ".figure",
    "plot_units": ".figure",
    "plot_saddle_graph": ".graph_figure",
    "plot_manifolds": ".manifold_figure",
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
