"""UV-Vis: absorbance spectra of what is in a vial, in cuvettes that an arm carries."""

from .actions import ACTIONS
from .manifest import manifest

__all__ = ["ACTIONS", "manifest"]
