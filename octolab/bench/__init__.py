"""Figures: each module is a measurement that ``deploy/bench`` can run."""
