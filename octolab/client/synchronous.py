"""The client for ordinary programs."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any

from .calls import FINAL, PREFIX, Call, Job, JobSource, get, post, segment, specification
from .downloads import Download
from .results import Results
from .transport import Transport

FIRST_POLL_S = 0.1
LONGEST_POLL_S = 2.0
EVENTS_WAIT_S = 20
"""How long the server holds a request for events back until there are some."""


class Octolab:
    """A laboratory's server, as one user sees it. Threads may share it.

    Parameters
    ----------
    url
        Address of the server; ``OCTOLAB_URL`` if not given.
    token
        Credential; ``OCTOLAB_TOKEN`` if None. Without any, only :meth:`login` works.
    timeout_s
        Longest wait for one answer.
    tries
        How often a request that may be repeated is sent before :class:`UnreachableError` is raised.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout_s: float = 30.0, tries: int = 6
    ) -> None:
        self.url = (url or os.environ.get("OCTOLAB_URL") or "http://127.0.0.1:8000").rstrip("/")
        token = os.environ.get("OCTOLAB_TOKEN") if token is None else token
        self._server = Transport(self.url, token, timeout_s, tries)

    def __enter__(self) -> Octolab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    # --- jobs --------------------------------------------------------------------------------------------------

    def submit(self, job: JobSource, *, key: str | None = None) -> Job:
        """Submit a job and return its id and predicted times.

        Parameters
        ----------
        job
            A mapping, text (YAML or JSON), or the ``Path`` of a file.
        key
            Idempotency key: a repeated submit with the same key returns the job of the first one.

        Raises
        ------
        InvalidError
            If the job is not valid or can never run; ``errors`` says where, and what would be right.
        """
        call = Call(
            "POST",
            f"{PREFIX}/jobs",
            headers={"Idempotency-Key": key or str(uuid.uuid4())},
            repeatable=True,
            **specification(job),
        )
        accepted: Job = self._server.json(call)
        return accepted

    def preview(self, job: JobSource) -> Job:
        """Check a job and predict its times; nothing is kept."""
        call = Call("POST", f"{PREFIX}/jobs/preview", repeatable=True, **specification(job))
        checked: Job = self._server.json(call)
        return checked

    def job(self, job_id: str, *, include: str = "samples,tasks,steps") -> Job:
        """Return a job; ``include`` names the parts that are wanted, ``none`` for none."""
        found: Job = self._server.json(get(f"/jobs/{segment(job_id)}", include=include))
        return found

    def jobs(
        self,
        *,
        state: str | None = None,
        project: str | None = None,
        owner: str | None = None,
        campaign: str | None = None,
        text: str | None = None,
        limit: int | None = None,
    ) -> list[Job]:
        """Return jobs, newest first; all of them if no limit is given.

        Parameters
        ----------
        state
            States, separated by commas.
        owner
            A user name, or ``me``.
        text
            Part of the name.
        """
        page_size = min(limit or 500, 500)
        wanted = {"state": state, "project": project, "owner": owner, "campaign": campaign, "text": text}
        first = get("/jobs", **wanted, limit=page_size)
        return list(self._pages(first, limit))

    def change(self, job_id: str, **changes: Any) -> Job:
        """Change a queued job's ``name``, ``priority`` or ``deadline`` (ISO date and time, None for none)."""
        call = Call("PATCH", f"{PREFIX}/jobs/{segment(job_id)}", body=changes, repeatable=True)
        changed: Job = self._server.json(call)
        return changed

    def cancel(self, job_id: str, *, reason: str = "") -> Job:
        """Cancel a job. What runs is cleaned up first, so that the job may be ``cancelling`` for a while."""
        answer: Job = self._server.json(post(f"/jobs/{segment(job_id)}/cancel", {"reason": reason}))
        return answer

    def control(self, job_id: str, verb: str, *, reason: str = "") -> dict[str, Any]:
        """Ask for one of ``hold``, ``release``, ``pause``, ``resume``, ``stop``, ``abort``, ``halt`` and ``cancel``.

        Asking twice changes nothing. ``halt`` is for operators.

        Raises
        ------
        ConflictError
            If that is not possible in the job's present state; the text says what is.
        """
        call = post(f"/jobs/{segment(job_id)}/{segment(verb)}", {"reason": reason}, repeatable=True)
        answer: dict[str, Any] = self._server.json(call)
        return answer

    def verbs(self, job_id: str) -> dict[str, Any]:
        """Return the ``verbs`` that are legal now, and the ``windows`` that a hold or a pause would break."""
        found: dict[str, Any] = self._server.json(get(f"/jobs/{segment(job_id)}/verbs"))
        return found

    def rerun(self, job_id: str) -> Job:
        """Submit a job once more, as a new one."""
        key = {"Idempotency-Key": str(uuid.uuid4())}
        call = Call("POST", f"{PREFIX}/jobs/{segment(job_id)}/rerun", headers=key, repeatable=True)
        accepted: Job = self._server.json(call)
        return accepted

    def why(self, job_id: str) -> dict[str, Any]:
        """Return why a job waits (``waits``, ``sentence``), until when, and which ``remedies`` would help."""
        found: dict[str, Any] = self._server.json(get(f"/jobs/{segment(job_id)}/why"))
        return found

    def what_if(
        self,
        job: JobSource | None = None,
        *,
        lose: Sequence[str] = (),
        gain: Sequence[Mapping[str, Any]] = (),
        maintenance: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Return what would change if a job came, or devices went, came or were locked; nothing is kept.

        Parameters
        ----------
        lose
            Ids of devices.
        gain
            Further devices: ``{"id": "arm_2", "like": "arm"}``.
        maintenance
            ``{"device": "arm", "start_lab_s": 7200, "end_lab_s": 10800}``.
        """
        body: dict[str, Any] = {"lose": list(lose), "gain": list(gain), "maintenance": list(maintenance)}
        if job is not None:
            sent = specification(job)
            body["job"] = sent.get("body", sent.get("text"))
        answer: dict[str, Any] = self._server.json(post("/plan/what-if", body, repeatable=True))
        return answer

    def logs(self, job_id: str) -> list[dict[str, Any]]:
        """Return everything that happened to a job, in order."""
        return list(self._pages(get(f"/jobs/{segment(job_id)}/logs")))

    def metrics(self, job_id: str) -> dict[str, Any]:
        """Return how long a job waited and ran, and how long it used each device."""
        found: dict[str, Any] = self._server.json(get(f"/jobs/{segment(job_id)}/metrics"))
        return found

    def wait(
        self, job_id: str, *, timeout_s: float | None = None, on_change: Callable[[Job], None] | None = None
    ) -> Job:
        """Return the job, without its parts, once it is final or needs an operator.

        Parameters
        ----------
        timeout_s
            Longest wait; None for ever.
        on_change
            Called with the job first, and again each time it has changed.

        Raises
        ------
        TimeoutError
            If it is not final in time.
        """
        watch = Watch(on_change, timeout_s)
        while not watch.ended(job := self.job(job_id, include="none")):
            time.sleep(watch.pause_s)
        return job

    def results(self, job_id: str) -> Results:
        """Return a job's results."""
        found = self._server.json(get(f"/jobs/{segment(job_id)}/results"))
        return Results(found, lambda address: self._server.json(Call("GET", address, repeatable=True)))

    def files(self, job_id: str) -> list[dict[str, Any]]:
        """Return a job's files: ``name``, ``kind``, ``bytes``, ``sha256``, ``href``."""
        found: list[dict[str, Any]] = self._server.json(get(f"/jobs/{segment(job_id)}/files"))["files"]
        return found

    def download(self, job_id: str, folder: Path | str = ".", *, pattern: str = "*") -> list[Path]:
        """Download a job's files, going on where an earlier download broke off.

        Parameters
        ----------
        folder
            Where the files go.
        pattern
            Which files, such as ``*.nxs``.

        Returns
        -------
        list of Path
            The files. One that is there already with the right checksum is not downloaded again.

        Raises
        ------
        CorruptDownloadError
            If a file does not have the checksum that the server told.
        """
        downloads = [Download(file, Path(folder)) for file in self.files(job_id) if fnmatchcase(file["name"], pattern)]
        for download in downloads:
            self._server.download(download)
        return [download.path for download in downloads]

    # --- the lab -----------------------------------------------------------------------------------------------

    def modules(self) -> list[dict[str, Any]]:
        """Return the modules and the tasks they offer."""
        return list(self._pages(get("/modules")))

    def devices(self) -> list[dict[str, Any]]:
        """Return the devices and their states."""
        return list(self._pages(get("/devices")))

    def plan(self) -> dict[str, Any]:
        """Return the plan; other people's work shows as busy."""
        plan: dict[str, Any] = self._server.json(get("/plan"))
        return plan

    def stocks(self) -> list[dict[str, Any]]:
        """Return the stocks: level, reserved, unit."""
        return list(self._pages(get("/stocks")))

    def refill(self, stock: str, level: float, *, lot: str = "") -> dict[str, Any]:
        """Tell what a stock holds after it was refilled, in the stock's unit."""
        body = {"level": level, "lot": lot}
        answer: dict[str, Any] = self._server.json(post(f"/stocks/{segment(stock)}/refill", body, repeatable=True))
        return answer

    def storage(self) -> list[dict[str, Any]]:
        """Return the places of the lab, and which samples of one's own stand there."""
        return list(self._pages(get("/storage")))

    def collect(self, sample_id: str) -> dict[str, Any]:
        """Tell that one has taken a stored sample away, so that its place is free."""
        answer: dict[str, Any] = self._server.json(post(f"/samples/{segment(sample_id)}/collect"))
        return answer

    def estop(self, scope: str = "lab", *, reason: str = "") -> dict[str, Any]:
        """Trip the emergency stop of a module, or of the whole lab.

        Returns
        -------
        dict
            ``all_confirmed``, and for each of the ``devices`` whether it is ``confirmed`` to be safe.
        """
        body = {"scope": scope, "reason": reason}
        answer: dict[str, Any] = self._server.json(post("/estop", body, repeatable=True))
        return answer

    def estops(self) -> dict[str, Any]:
        """Return whether any emergency stop is ``tripped``, and all ``scopes`` that ever were."""
        found: dict[str, Any] = self._server.json(get("/estop"))
        return found

    def rearm(self, note: str, scope: str = "lab") -> dict[str, Any]:
        """Let a module or the lab move again (operators); ``note`` says what was checked at the bench."""
        answer: dict[str, Any] = self._server.json(post("/estop/rearm", {"scope": scope, "note": note}))
        return answer

    def locks(self) -> list[dict[str, Any]]:
        """Return the maintenance locks that are in force."""
        return list(self._pages(get("/maintenance")))

    def lock(self, target: str, reason: str, *, kind: str = "device", expires_at: str | None = None) -> dict[str, Any]:
        """Lock a device (or with ``kind="module"``, all of a module) for maintenance; operators.

        Parameters
        ----------
        expires_at
            ISO date and time with offset at which the lock ends by itself; None for never.
        """
        body = {"target": target, "kind": kind, "reason": reason, "expires_at": expires_at}
        answer: dict[str, Any] = self._server.json(post("/maintenance", body))
        return answer

    def unlock(self, lock_id: str, *, note: str = "") -> dict[str, Any]:
        """Release a maintenance lock."""
        answer: dict[str, Any] = self._server.json(post(f"/maintenance/{segment(lock_id)}/release", {"note": note}))
        return answer

    def clear_device(self, device: str, note: str) -> dict[str, Any]:
        """Release a device from quarantine (operators); ``note`` says what was seen."""
        answer: dict[str, Any] = self._server.json(post(f"/devices/{segment(device)}/clear", {"note": note}))
        return answer

    def run_by_hand(self, module: str, task: str, *, reason: str = "", **parameters: Any) -> Job:
        """Run a task of a module now, as a job of one's own (operators)."""
        body = {"task": task, "parameters": parameters, "reason": reason}
        accepted: Job = self._server.json(post(f"/modules/{segment(module)}/run", body))
        return accepted

    def attention(self) -> dict[str, list[dict[str, Any]]]:
        """Return what waits for an operator: ``steps``, ``late``, ``overdue``, ``stranded`` samples, ``devices``."""
        found: dict[str, list[dict[str, Any]]] = self._server.json(get("/operator/attention"))
        return found

    def decide(self, step_id: str, decision: str, note: str) -> dict[str, Any]:
        """Decide about an interrupted step.

        Parameters
        ----------
        decision
            ``done``: it was done in full. ``failed``: give the sample up. ``repeat``: do it again. Of a step that would
            start too late: ``continue``, ``skip`` the sample, or ``abort`` the job.
        note
            What you saw at the bench; kept for ever.
        """
        body = {"decision": decision, "note": note}
        answer: dict[str, Any] = self._server.json(post(f"/steps/{segment(step_id)}/decide", body))
        return answer

    def approvals(self) -> list[dict[str, Any]]:
        """Return the jobs that wait for your approval (operators), with what they ask for."""
        return list(self._pages(get("/operator/approvals")))

    def approve(self, job_id: str, note: str = "") -> dict[str, Any]:
        """Let a job be planned (operators of its modules)."""
        answer: dict[str, Any] = self._server.json(post(f"/jobs/{segment(job_id)}/approve", {"note": note}))
        return answer

    def reject(self, job_id: str, note: str) -> dict[str, Any]:
        """Cancel a job that waits for approval (operators of its modules); its owner is told the note."""
        answer: dict[str, Any] = self._server.json(post(f"/jobs/{segment(job_id)}/reject", {"note": note}))
        return answer

    def questions(self) -> list[dict[str, Any]]:
        """Return the steps that wait for a person and that you may answer, each with its ``form``."""
        found: list[dict[str, Any]] = self._server.json(get("/steps/waiting"))
        return found

    def answer(self, step_id: str, *, note: str = "", cannot: bool = False, **values: Any) -> dict[str, Any]:
        """Answer a step that waits for a person: ``lab.answer(step, mass="1.5 g")``. The same answer again is none.

        Parameters
        ----------
        note
            Kept with the result.
        cannot
            It cannot be done; the note says why, and the job's failure policy follows.
        **values
            By the names of the form's fields, as numbers in the field's unit or as text with a unit.
        """
        body = {"values": values, "note": note, "cannot": cannot}
        answer: dict[str, Any] = self._server.json(post(f"/steps/{segment(step_id)}/answer", body, repeatable=True))
        return answer

    def sample(self, sample_id: str) -> dict[str, Any]:
        """Return a sample: where it is and was, what went into it, and what was done to it."""
        found: dict[str, Any] = self._server.json(get(f"/samples/{segment(sample_id)}"))
        return found

    def events(self, since: int = 0, *, job_id: str | None = None, follow: bool = False) -> Iterator[dict[str, Any]]:
        """Yield events after a sequence number; ``follow`` goes on with those to come."""
        while True:
            page = self.events_page(since, job_id, wait=follow)
            yield from page["results"]
            if not page["results"] and not follow:
                return
            since = page["last"]

    def events_page(self, since: int, job_id: str | None = None, *, wait: bool = False) -> dict[str, Any]:
        """Return ``results``, the next events, and ``last``, what to pass as ``since`` next time."""
        call = get("/events", since=since, job=job_id, wait=EVENTS_WAIT_S if wait else None)
        page: dict[str, Any] = self._server.json(call)
        return page

    # --- who one is --------------------------------------------------------------------------------------------

    def login(self, username: str, password: str, *, name: str = "client", scopes: Sequence[str] | None = None) -> str:
        """Make a token from name and password, use it from now on, and return it. It is shown this once."""
        body = {"username": username, "password": password, "name": name}
        token: str = self._server.json(post("/tokens", body if scopes is None else {**body, "scopes": list(scopes)}))[
            "token"
        ]
        self._server.use_token(token)
        return token

    def me(self) -> dict[str, Any]:
        """Return who one is and what the token is good for."""
        found: dict[str, Any] = self._server.json(get("/me"))
        return found

    def tokens(self) -> list[dict[str, Any]]:
        """Return one's tokens, without their secrets."""
        return list(self._pages(get("/tokens")))

    def revoke(self, token_id: str) -> None:
        """Revoke a token."""
        self._server.send(Call("DELETE", f"{PREFIX}/tokens/{segment(token_id)}", repeatable=True))

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send any request of the REST API, for what has no verb here; return what the answer's JSON says, if any.

        Parameters
        ----------
        path
            With or without ``/api/v1``, with its query: ``/jobs?state=running``.
        """
        address = path if path.startswith(f"{PREFIX}/") else f"{PREFIX}/{path.lstrip('/')}"
        method = method.upper()
        call = Call(method, address, body=body, repeatable=method in ("GET", "HEAD", "PUT", "DELETE"))
        return self._server.any(call)

    # --- reading -----------------------------------------------------------------------------------------------

    def _pages(self, call: Call, limit: int | None = None) -> Iterator[dict[str, Any]]:
        yielded = 0
        while True:
            answer = self._server.json(call)
            for item in items(answer):
                if limit is not None and yielded == limit:
                    return
                yielded += 1
                yield item
            following = answer.get("next") if isinstance(answer, dict) else None
            if not following:
                return
            call = Call("GET", following, repeatable=True)


class Watch:
    """Decides how long to pause between two looks at a job, and when to stop looking."""

    def __init__(self, on_change: Callable[[Job], None] | None, timeout_s: float | None) -> None:
        self._on_change = on_change
        self._give_up_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._seen: Job | None = None
        self.pause_s = FIRST_POLL_S

    def ended(self, job: Job) -> bool:
        """Take a look's result; return whether the job is final or needs an operator.

        Raises
        ------
        TimeoutError
            If the time is over.
        """
        self.pause_s = min(self.pause_s * 1.5, LONGEST_POLL_S)
        if job != self._seen:
            self._seen, self.pause_s = job, FIRST_POLL_S
            if self._on_change:
                self._on_change(job)
        if job["state"] in FINAL or job["state"] == "needs_operator":
            return True
        if self._give_up_s is not None and time.monotonic() > self._give_up_s:
            raise TimeoutError(f"job {job['id']} is still {job['state']}")
        return False


def items(answer: Any) -> list[dict[str, Any]]:
    """Return the items of a list, or of one page of a list."""
    found: list[dict[str, Any]] = answer["results"] if isinstance(answer, dict) else answer
    return found
