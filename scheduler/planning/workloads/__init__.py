"""Workloads to measure planners with: OCTOPUS's experiments, and seeded loads of a synthetic lab."""
