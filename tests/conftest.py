"""Fixtures that all tests may use."""
