"""Prepare the lab before its processes start, in one process, since loading Django takes most of the time.

Migrates, collects the dashboard's assets, reads the lab file, anchors lab time, and makes the demo user if
asked to. The answer, one line of JSON with the demo user's secrets, goes to standard output, which the
supervisor reads; it is never logged.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from modules.contract import lab as lab_file

from .example import fitting_example

DEMO_USER = "demo"
DEMO_TOKEN_LIFE = timedelta(days=1)
LOCKED_S = 120.0
"""The longest wait (real seconds) for a database that another program has locked."""


def main() -> int:
    """Prepare, and print what the supervisor must know."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float)
    parser.add_argument("--demo", action="store_true")
    options = parser.parse_args()
    try:
        lab = lab_file.load(settings.LAB_FILE)
        if options.scale not in (None, 1.0) and not lab.simulated:
            raise lab_file.LabFileError("--scale: the lab has real devices, which cannot hurry; leave --scale out")
        with contextlib.redirect_stdout(sys.stderr):
            django.setup()
            _patiently(lambda: call_command("migrate", interactive=False, verbosity=0))
            call_command("collectstatic", interactive=False, verbosity=0)
            scale = {} if options.scale is None else {"scale": options.scale}
            _patiently(lambda: call_command("prepare_lab", **scale))
        answer: dict[str, Any] = {
            "lab": lab.name,
            "simulated": lab.simulated,
            "simulation": any(device.simulated for device in lab.devices),
            "hosts": list(lab.hosts),
            "modules": list(lab.modules),
            "example": None if (example := fitting_example(lab.modules)) is None else str(example),
            "scale": options.scale or lab.clock.scale,
            "seed": lab.seed,
        }
        if options.demo:
            answer["demo"] = _demo_user(simulated=lab.simulated)
    except (lab_file.LabFileError, CommandError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(answer))
    return 0


def _patiently(do: Callable[[], object]) -> None:
    """Do something that may be repeated, again and again as long as another program has the database locked.

    Raises
    ------
    CommandError
        If it has it for longer than :data:`LOCKED_S`.
    """
    give_up_s = time.monotonic() + LOCKED_S
    while True:
        try:
            do()
            return
        except OperationalError as error:
            if "locked" not in str(error):
                raise
            if time.monotonic() > give_up_s:
                raise CommandError(f"{error}: end the program that has it open, such as a backup or a shell") from error
            print("waiting: another program has the database locked", file=sys.stderr, flush=True)


def _demo_user(*, simulated: bool) -> dict[str, str]:
    """Return the demo user's credentials: a fresh token each time, the password only when it is made."""
    from users.models import Token, User
    from users.services import DEFAULT_SCOPES, create_token, create_user

    user = User.objects.filter(username=DEMO_USER).first()
    password = ""
    if user is None:
        password = secrets.token_urlsafe(12)
        # In a simulated lab one person plays all parts.
        user = create_user(DEMO_USER, password, operator=simulated)
    Token.objects.filter(user=user, name="deploy/up").delete()
    scopes = [*DEFAULT_SCOPES, *(["devices:control"] if simulated else [])]
    _, secret = create_token(user, "deploy/up", scopes, expires_at=timezone.now() + DEMO_TOKEN_LIFE)
    return {"username": DEMO_USER, "password": password, "token": secret}


if __name__ == "__main__":
    sys.exit(main())
