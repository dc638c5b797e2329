"""The local stack: every process of a lab on one machine, started, watched and stopped together.

``python -m octolab.stack up`` is what ``deploy/up`` runs. The supervisor imports nothing but the standard
library, so that it stays small; whatever needs Django or a network client runs in a process of its own.
"""
