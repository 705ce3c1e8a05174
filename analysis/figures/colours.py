"""The colours of all figures, for what draws with matplotlib and what does not."""

# Paul Tol's bright scheme, which can be told apart with any colour vision and in grey.
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
