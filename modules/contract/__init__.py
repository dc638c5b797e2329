"""The contract between server and hosts: manifests, the lab file, lab time and messages.

This is all that the server side takes from ``modules``.
"""
