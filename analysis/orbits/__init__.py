"""Where the escape directions of a saddle lead: connections, heteroclinic orbits, the saddle graph. Imports visits and
what lies below.
"""
