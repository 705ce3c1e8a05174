"""Units found in the program of any model: traced, confirmed by number, and declared."""

from .found import FoundGroup as FoundGroup
from .found import FoundUnits as FoundUnits
from .found import units_of as units_of
from .with_units import WithUnits as WithUnits
from .with_units import declaring as declaring
from .with_units import with_units_found as with_units_found
