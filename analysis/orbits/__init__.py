"""Where the escape directions of a saddle lead: connections and their graph. Imports visits and what lies below."""
