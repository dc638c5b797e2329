"""Figures of one machine: how fast, how much, how large. Printed by ``deploy/bench``, never asserted."""
