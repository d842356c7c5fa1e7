"""How another Python of this node is started."""

import sys

PYTHON_M = (sys.executable, "-P", "-m")
"""Followed by the name of a module. `-P`: it is never taken from the directory that somebody happens to be in."""
