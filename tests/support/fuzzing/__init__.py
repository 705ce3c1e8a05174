"""Drawn problems, mistakes, files and command lines, and the laws that hold for all of them."""
