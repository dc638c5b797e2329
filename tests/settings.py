"""Settings of the tests: the shipped ones, with what the environment would have to say."""

from __future__ import annotations

import os
import secrets
import tempfile

os.environ.setdefault("OCTOLAB_SECRET_KEY", secrets.token_urlsafe(50))
if "OCTOLAB_DATA_ROOT" not in os.environ:
    # Processes that the tests start inherit it; it goes when the process that made it ends.
    _made = tempfile.TemporaryDirectory(prefix="octolab-tests-", ignore_cleanup_errors=True)
    os.environ["OCTOLAB_DATA_ROOT"] = _made.name

from octolab.settings import *  # noqa: F403

# A real hash takes half a second, which only the tests of passwords themselves need.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]

if DATABASES["default"]["ENGINE"] == "octolab.sqlite":  # noqa: F405
    # In memory, shared by the threads of a process. Who runs tests in parallel appends the worker's name, here to a
    # parameter that SQLite ignores.
    DATABASES["default"]["TEST"] = {"NAME": "file:octolab?mode=memory&cache=shared&worker="}  # noqa: F405

STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # noqa: F405
