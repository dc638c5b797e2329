"""The audit log in sentences: who, did what, to what, from where."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.urls import reverse

from octolab.ids import uuid_or_none
from scheduler.models import Job, Sample, Step
from users.audit.models import AuditEntry
from users.models import User

from . import words

_SAID = {
    "access.reset": "gave {subject} a new password, without a second factor",
    "channel.create": "added the notification channel “{name}”",
    "channel.delete": "removed the notification channel “{name}”",
    "channel.test": "tested the notification channel “{name}”",
    "email.change": "changed the main mail address of {subject}",
    "email.confirm": "confirmed a mail address of {subject}",
    "estop.trip": "tripped the EMERGENCY STOP of {thing}",
    "estop.rearm": "re-armed the emergency stop of {thing}",
    "factor.add": "added a second factor to {subject}",
    "factor.remove": "removed a second factor of {subject}",
    "factor.reset": "made new recovery codes for {subject}",
    "factor.fail": "gave a wrong second factor for {subject}",
    "invitation.send": "invited {subject}",
    "invitation.withdraw": "withdrew the invitation of {subject}",
    "job.submit": "submitted the job “{name}”",
    "job.reject": "rejected {object}",
    "job.approve": "approved {object}",
    "job.change": "changed {object}",
    "lab.policy": "changed the lab's settings",
    "lab.lock": "asked for a maintenance lock of {target}",
    "lab.unlock": "asked to release a maintenance lock",
    "lab.clear_device": "released {device} from quarantine",
    "lab.acknowledge": "has seen the interlock {interlock}",
    "labrole.give": "gave {subject} the role {role} in the lab",
    "labrole.take": "took the role {role} in the lab from {subject}",
    "login.succeed": "signed in",
    "login.fail": "failed to sign in as {subject}",
    "logout": "signed out",
    "member.set": "made {subject} {role} of the project {project}",
    "member.remove": "took {subject} out of the project {project}",
    "password.change": "changed the password of {subject}",
    "password.reset": "set a new password for {subject} by mail",
    "project.create": "made the project {subject}",
    "project.change": "changed the project {subject}",
    "project.rules": "set the rules of the project {subject}",
    "quota.set": "set the quota of {subject}",
    "sample.collect": "noted that {object} was taken out of the storage",
    "sso.link": "linked {subject} to single sign-on",
    "sso.unlink": "unlinked {subject} from single sign-on",
    "step.decide": "decided “{decision}” about {object}",
    "step.answer": "answered {object}",
    "step.settle": "settled {object}",
    "stock.refill": "refilled {thing}",
    "token.create": "made the token “{name}”",
    "token.revoke": "revoked the token “{name}” of {of}",
    "user.create": "made the account {subject}",
    "user.signup": "signed up as {subject}",
    "user.activate": "let {subject} in",
    "user.deactivate": "locked the account {subject}",
}
_FROM = {
    "session": "in a browser",
    "password": "with name and password",
    "command": "by a command on the server",
    "process": "on the server",
    "none": "not signed in",
}


@dataclass(frozen=True)
class Said:
    """An entry as it is read.

    Attributes
    ----------
    href
        Page of what it was done to, if the reader may see it.
    details
        Name and value of everything else that is known.
    """

    entry: AuditEntry
    sentence: str
    href: str = ""
    origin: str = ""
    details: dict[str, str] = field(default_factory=dict)

    @property
    def grave(self) -> bool:
        """Whether it should catch the eye."""
        return self.entry.verb in {
            "access.reset",
            "estop.trip",
            "login.fail",
            "factor.fail",
            "labrole.give",
            "user.deactivate",
        }


def in_words(entries: Iterable[AuditEntry], reader: User) -> list[Said]:
    """Return the entries as sentences; jobs are named to those alone who may see them."""
    entries = list(entries)
    known = _objects({found for entry in entries if (found := uuid_or_none(entry.subject)) is not None}, reader)
    return [_said(entry, known.get(entry.subject)) for entry in entries]


def _said(entry: AuditEntry, known: tuple[str, str] | None) -> Said:
    detail = _detail(entry)
    noun, _, verb = entry.verb.partition(".")
    name, href = known or (f"{noun} {_short(entry.subject)}", "")
    pattern = _SAID.get(entry.verb) or f"asked to {words.plain(verb)} {{object}}"
    blanks = _Blanks({key: value for key, value in detail.items() if isinstance(value, str | int | float)})
    blanks |= {
        "subject": _short(entry.subject),
        "object": name,
        "project": entry.project,
        "thing": words.thing(entry.subject),
        "target": words.thing(str(detail.get("target", ""))),
        "device": words.thing(str(detail.get("device", ""))),
    }
    shown = {words.plain(key): _shown(value) for key, value in detail.items() if value not in (None, "", [], {})}
    credential, _, which = entry.credential.partition(" ")
    origin = f"with the token {which[:8]}…" if credential == "token" else _FROM.get(entry.credential, entry.credential)
    where = "" if entry.address in ("", "local") else f" from {entry.address}"
    return Said(entry, pattern.format_map(blanks), href, f"{origin}{where}", shown)


class _Blanks(dict[str, Any]):
    """What is not known is left open."""

    def __missing__(self, key: str) -> str:
        return "…"


def _objects(ids: set[UUID], reader: User) -> dict[str, tuple[str, str]]:
    """Return id → name and page of the jobs, samples and steps that the reader may see."""
    jobs = Job.objects.visible_to(reader)
    found = {}
    for job in jobs.filter(pk__in=ids).only("id", "name"):
        found[str(job.pk)] = (f"the job “{job.name}”", reverse("job", args=[job.pk]))
    for sample in Sample.objects.filter(pk__in=ids, job__in=jobs).only("id", "name"):
        found[str(sample.pk)] = (f"the sample “{sample.name}”", reverse("sample", args=[sample.pk]))
    for step in Step.objects.filter(pk__in=ids, job__in=jobs).select_related("job"):
        title = f"the step “{words.step(step)}” of “{step.job.name}”"
        found[str(step.pk)] = (title, reverse("job", args=[step.job_id]))
    return found


def _detail(entry: AuditEntry) -> dict[str, Any]:
    try:
        found = json.loads(entry.detail) if entry.detail else {}
    except ValueError:
        return {"text": entry.detail}
    return found if isinstance(found, dict) else {"text": entry.detail}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{words.plain(str(key))} {_shown(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return (
        {True: "yes", False: "no", None: "none"}.get(value, str(value))
        if isinstance(value, bool | None)
        else str(value)
    )


def _short(subject: str) -> str:
    """Return an id so that people can tell it from others; anything else as it is."""
    return f"…{subject[-8:]}" if uuid_or_none(subject) is not None else subject
