"""Second floor: what happened. A trajectory becomes visits to critical points, and these a report."""

from . import theory as theory
from .conservation import conserved_drift as conserved_drift
from .critical_point import CriticalPoint as CriticalPoint
from .critical_point import critical_point as critical_point
from .curvature import Spectrum as Spectrum
from .curvature import hessian as hessian
from .curvature import spectrum as spectrum
from .curvature import third_order_form as third_order_form
from .dormant import DormantForm as DormantForm
from .dormant import dormant_form as dormant_form
from .escape import Escape as Escape
from .itinerary import Itinerary as Itinerary
from .itinerary import Visit as Visit
from .itinerary import itinerary as itinerary
from .kind import Kind as Kind
from .kind import kind as kind
from .reduction import Reduction as Reduction
from .reduction import reduce as reduce
from .visits import Passage as Passage
from .visits import closest_approaches as closest_approaches
from .visits import passages as passages
from .width import EffectiveWidth as EffectiveWidth
from .width import effective_width as effective_width
