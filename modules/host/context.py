"""What an action gets: devices, parameters, and the means to record, wait and be interrupted."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from modules.contract.clock import Clock
from modules.contract.messages import Live, Member

from .attempt import AttemptRun


@dataclass(frozen=True)
class Sample:
    """A sample, as an action sees it."""

    id: str
    name: str


class Context:
    """One step, as its action sees it.

    Attributes
    ----------
    parameters : Mapping
        Of the first member; numbers in the units that the manifest declares.
    members : tuple of Member
        All (task, sample) pairs of the step, each with ``parameters`` and ``places``.
    sample : Sample or None
        Of the first member; None where a task has no sample.
    places : Mapping
        Local resource name → number of the place (from 0) that the first member's sample holds.
    settings : Mapping
        ``"<local device>.<setting>"`` → value held during the step.
    options : Mapping
        The module's options in the lab file.
    clock : Clock
        Lab time.
    log : logging.LoggerAdapter
        Goes to the host's log, with the attempt's id.
    """

    def __init__(self, run: AttemptRun, *, plan: bool = False) -> None:
        self._run = run
        self._plan = plan
        self._step = run.step
        first = run.order.members[0] if run.order.members else None
        self.members: tuple[Member, ...] = run.order.members
        self.parameters: Mapping[str, Any] = first.parameters if first else {}
        self.places: Mapping[str, int] = first.places if first else {}
        self.sample = Sample(first.sample_id, first.sample_name) if first and first.sample_id else None
        self.settings: Mapping[str, float] = run.step.settings
        self.options: Mapping[str, Any] = run.module.options
        self.clock: Clock = run.bench.clock
        self.log = logging.LoggerAdapter(logging.getLogger(f"module.{run.order.module}"), {"attempt": run.attempt_id})

    # ------------------------------------------------------------------ devices

    def device(self, name: str) -> Any:
        """Return the driver behind a local device name.

        Raises
        ------
        LookupError
            The manifest has no such device, or the name stands for several (use :meth:`devices`).
        """
        found = self.devices(name)
        if len(found) != 1:
            raise LookupError(f"device {name!r} stands for {len(found)} devices: use ctx.devices({name!r})")
        return found[0]

    def devices(self, name: str) -> tuple[Any, ...]:
        """Return all drivers that a local device name stands for, in the lab file's order.

        Raises
        ------
        LookupError
            The manifest has no such device, or the step does not mask it.
        """
        ids = self._run.module.devices.get(name)
        if ids is None:
            known = ", ".join(sorted(self._run.module.devices)) or "none"
            raise LookupError(f"the manifest has no device {name!r} (it has: {known})")
        if missing := [device for device in ids if device not in self._step.devices]:
            raise LookupError(f"step {self._step.name!r} does not mask {missing[0]}: name {name!r} in its devices")
        return tuple(self._run.bench.rack.drivers[device] for device in ids)

    # ------------------------------------------------------------------ results

    def record(self, member: Member | None = None, /, **values: Any) -> None:
        """Record scalar results, in the units that the manifest declares: ``ctx.record(peak_nm=412.0)``.

        Parameters
        ----------
        member : Member, optional
            Whose results; all members' by default.

        Raises
        ------
        ResultError
            The manifest does not declare such a result.
        """
        self._run.recorder.record(values, member)

    def array(
        self,
        name: str,
        data: Any,
        *,
        unit: str = "",
        axes: Mapping[str, tuple[Any, str]] | None = None,
        member: Member | None = None,
    ) -> None:
        """Record an array, e.g. ``ctx.array("absorbance", a, axes={"wavelength": (nm, "nm")})``.

        Parameters
        ----------
        unit : str, optional
            Of the data; the manifest's by default.
        axes : Mapping, optional
            For each dimension, its name, values and unit.
        """
        self._run.recorder.array(name, data, unit, axes, member)

    def fail(self, member: Member, reason: str) -> None:
        """Note that one member failed, and why; the others go on."""
        self._run.recorder.fail(member, reason)

    def progress(self, fraction: float, text: str = "") -> None:
        """Tell whoever watches how far the step is, from 0 to 1; cheap, may be called often."""
        self._publish(progress=min(1.0, max(0.0, float(fraction))), text=text)

    def reading(self, **values: Any) -> None:
        """Show present readings to whoever watches. They are not stored."""
        self._publish(reading=values)

    def _publish(self, **fields: Any) -> None:
        order = self._run.order
        self._run.bench.live.publish(
            Live(
                job_id=order.job_id,
                project_id=order.project_id,
                owner=order.owner,
                attempt_id=order.attempt_id,
                step_id=self._step.step_id,
                **fields,
            )
        )

    # ------------------------------------------------------------------ waiting

    @property
    def _pause(self) -> str:
        return self._run.module.manifest.action(self._step.action).pause

    def checkpoint(self) -> None:
        """Mark a safe point: a pause takes effect here, and stop and abort are raised here.

        Raises
        ------
        Stopped, Aborted
            Somebody asked to end. Clean up in ``finally``.
        """
        self._refuse_in_plan("checkpoint", "yield from bluesky.plan_stubs.checkpoint()")
        interruptions = self._run.interruptions
        if self._pause != "none":
            self._run.wait_while_paused(lambda: self._publish(text="paused"))
        interruptions.raise_if_ending()

    def sleep(self, lab_seconds: float) -> None:
        """Wait for that many lab seconds. A checkpoint all along if the action declares ``pause: immediate``.

        A halt and the emergency stop end it at once in any case.
        """
        self._refuse_in_plan("sleep", "yield from octolab.sdk.plan_sleep(ctx, seconds)")
        interruptions = self._run.interruptions
        left_s = lab_seconds / self.clock.scale
        if self._pause != "immediate":
            interruptions.sleep(left_s, wakes=lambda: interruptions.halted is not None)
            if (halted := interruptions.halted) is not None:
                raise halted
            return
        while left_s > 0:
            left_s = interruptions.sleep(
                left_s,
                wakes=lambda: bool(interruptions.paused or interruptions.abort or interruptions.stop),
            )
            self.checkpoint()

    def _refuse_in_plan(self, method: str, instead: str) -> None:
        if self._plan:
            raise RuntimeError(f"ctx.{method}() would block the loop that all plans share; write `{instead}`")


def plan_sleep(ctx: Context, lab_seconds: float) -> Generator[Any, Any, None]:
    """Wait in a Bluesky plan, in lab time: ``yield from plan_sleep(ctx, 30)``."""
    from bluesky.utils import Msg

    yield Msg("sleep", None, lab_seconds / ctx.clock.scale)
