"""What follows from a failure: the sample is lost, the rest of its steps are skipped, and it is put away.

Other samples go on. Clean-up is expanded with the job but dormant; the one that fits the place where the sample
stands is called for and then planned like any other work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.process.grants import void
from scheduler.process.live import OCCUPYING, LiveJob, LiveSample, LiveStep, Unit
from scheduler.states import JobState, SampleState, StepState

if TYPE_CHECKING:
    from scheduler.process.flow import Flow

RESTING = (JobState.HELD, JobState.PAUSED)


class Failures:
    """Loses samples, skips steps, calls for clean-up."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    def fail_samples(self, step: LiveStep, reason: str, *, only: set[int] | None = None) -> None:
        """Lose the samples of a step: all that are alive, or those of the members given by key."""
        for member in list(step.alive):
            if only is None or member.pk in only:
                self.lose(member.sample, reason)

    def lose(self, sample: LiveSample, reason: str, *, cancelled: bool = False, actor: str = "") -> None:
        """Give a sample up: skip what it still had before it, and put it away."""
        flow, job = self.flow, sample.job
        if not sample.final:
            to = _final_state(sample, cancelled)
            flow.changes.sample(sample, to, reason, actor=actor)
            if to == SampleState.FAILED and sample.id is not None:
                job.samples_failed += 1
                flow.changes.touch(job)
        skipped = StepState.CANCELLED if sample.state != SampleState.FAILED else StepState.SKIPPED
        for step in sample.steps:
            if step.waiting and not step.alive:
                self.skip(step, skipped, reason, actor)
        self.clean_up(sample)

    def skip(self, step: LiveStep, to: str, reason: str, actor: str = "", *, spread: bool = True) -> None:
        """Give up a step that waits; unless told otherwise, samples that needed it are lost."""
        flow = self.flow
        flow.grants.remove(step.unit)
        flow.changes.step(step, to, reason, actor=actor)
        step.ended_at = flow.changes.at
        flow.unreserve(step)
        flow.plan.dropped(step)
        flow.settle(step)
        if spread:
            self._lose_followers(step)

    def _lose_followers(self, step: LiveStep) -> None:
        """Lose the samples whose next step needs one that will never be done."""
        for follower in step.followers:
            if not follower.waiting:
                continue
            if any(need.step == step.id and not void(need, step, follower.unit) for need in follower.needs):
                for member in list(follower.alive):
                    self.lose(member.sample, f"needs {step.name}, which was not done")

    # --- one unit

    def end(self, unit: Unit, to: str, reason: str, *, at_s: float, touched: bool, actor: str = "") -> None:
        """End an attended unit that did not complete: ``to`` is ``failed`` or ``aborted``.

        Steps that are completed already stay so; the next one ended as told, the others were not begun.
        """
        flow = self.flow
        first_open = True
        members = list(unit.first.alive)
        for step in unit.steps:
            if step.final:
                continue
            if first_open:
                if touched:
                    flow.consume(step)
                else:
                    flow.unreserve(step)
                step.ended_s, step.ended_at = at_s, flow.changes.at
                flow.changes.step(step, to, reason, actor=actor)
            else:
                # It was ordered together with the others but never begun.
                flow.unreserve(step)
                flow.changes.step(step, StepState.WAITING)
                flow.changes.step(step, StepState.SKIPPED, reason, actor=actor)
                step.ended_at = flow.changes.at
            first_open = False
        if not (touched or unit.touched):
            self._undo_takes(unit)
        flow.release(unit)
        for member in members:
            self.lose(member.sample, reason, actor=actor)
        for step in unit.steps:
            flow.settle(step)
            if step.state != StepState.COMPLETED:
                self._lose_followers(step)

    def _undo_takes(self, unit: Unit) -> None:
        """Give back the places that the unit took: nothing has moved."""
        for resource in dict.fromkeys(unit.takes):
            for member in unit.first.members:
                self.flow.give_back(resource, member.sample)

    def again(self, unit: Unit, reason: str, *, touched: bool = False) -> None:
        """Let a unit wait for another attempt; ``touched`` says whether this one may have moved something."""
        flow = self.flow
        unit.touched = unit.touched or touched
        if not unit.touched:
            self._undo_takes(unit)
        for step in unit.steps:
            if not step.final:
                flow.changes.step(step, StepState.WAITING, reason)
                step.started_s = None
        flow.release(unit)
        unit.claimed, unit.host, unit.incarnation = False, "", ""
        if not unit.first.alive:
            for step in unit.steps:
                if step.waiting:
                    self.skip(step, StepState.SKIPPED, reason)
            return
        flow.plan.returned(unit)
        flow.grants.add(unit)

    # --- putting away

    def clean_up(self, sample: LiveSample) -> None:
        """Call for the clean-up of the place where the sample stands, once nothing of the sample runs any more."""
        flow = self.flow
        if sample.job.how == "halt":
            return
        if sample.id is None or any(step.state in OCCUPYING or _runs(step) for step in sample.steps):
            return
        self._leave(sample)
        stands = self.stands_in(sample)
        if stands is None:
            return
        called = [step for step in sample.steps if is_cleanup_of(step, sample) and not step.dormant]
        if any(not step.final for step in called):
            return
        task = self._clean_up_task(sample, stands)
        if task is None:
            self._ask_to_take_out(sample.job)
            return
        steps = [s for s in sample.steps if s.dormant and any(m.task.id == task for m in s.members)]
        for step in steps:
            step.dormant = False
            flow.changes.touch(step)
        sample.job.steps_total += len(steps)
        flow.changes.touch(sample.job)
        units = list({step.unit.id: step.unit for step in steps}.values())
        flow.plan.called(units)
        for unit in units:
            flow.grants.add(unit)

    def _clean_up_task(self, sample: LiveSample, place: str) -> str | None:
        for step in sample.steps:
            if step.dormant and place in step.frees:
                return next(m.task.id for m in step.members if m.sample is sample)
        return None

    def stands_in(self, sample: LiveSample) -> str | None:
        """Return the working place in which the sample stands: the one that it took last and has not given back."""
        last = next(reversed(sample.places), None)
        return None if last is None or self.flow.state.places.is_storage(last) else last

    def _leave(self, sample: LiveSample) -> None:
        """Give back what a sample has left although the transfer failed: it was fetched from where it was to arrive."""
        fetched = {
            resource
            for step in sample.steps
            if step.state == StepState.COMPLETED and is_cleanup_of(step, sample)
            for resource in step.frees
        }
        for step in sample.steps:
            if step.state in (StepState.FAILED, StepState.ABORTED) and fetched & set(step.takes):
                for resource in step.frees:
                    self.flow.give_back(resource, sample)

    def empty_places(self, job: LiveJob) -> bool:
        """Tell whether no sample of the job stands in a working place; else have it put away, or ask an operator."""
        for sample in job.samples:
            self.clean_up(sample)
        if not any(self._working_places(sample) for sample in job.samples):
            return True
        self._ask_to_take_out(job)
        return False

    def _ask_to_take_out(self, job: LiveJob) -> None:
        """Ask an operator for what nobody puts away any more: others may wait for its place, also in the same job."""
        stranded = self._stranded(job)
        if stranded:
            where = ", ".join(f"{one.name} in {place} place {one.places[place] + 1}" for one, place in stranded)
            self.need_operator(job, f"Take out by hand, then mark as collected: {where}.")

    def _stranded(self, job: LiveJob) -> list[tuple[LiveSample, str]]:
        """Return samples that are over, and the working places that they will not leave by themselves."""
        return [
            (sample, place)
            for sample in job.samples
            if sample.final and not self._is_put_away(sample)
            for place in self._working_places(sample)
        ]

    def _is_put_away(self, sample: LiveSample) -> bool:
        """Tell whether somebody is at it, or a clean-up that fits is still to be called for."""
        if any(not step.final and not step.dormant for step in sample.steps):
            return True
        stands = self.stands_in(sample)
        return sample.job.how != "halt" and stands is not None and self._clean_up_task(sample, stands) is not None

    def _working_places(self, sample: LiveSample) -> list[str]:
        return [resource for resource in sample.places if not self.flow.state.places.is_storage(resource)]

    # --- operators

    def need_operator(self, job: LiveJob, reason: str) -> None:
        """Let a job wait for an operator, and tell; one that was held or paused goes back to that afterwards."""
        flow = self.flow
        flow.open_job(job, flow.now_s)
        if job.state != JobState.NEEDS_OPERATOR:
            job.back_to = job.state if job.state in RESTING else ""
            flow.changes.job(job, JobState.NEEDS_OPERATOR, reason)
            flow.changes.outbox.append((job, "needs_operator"))
        elif not self._undecided(job) and job.reason != reason:
            job.reason = reason
            flow.changes.touch(job)

    def done(self, job: LiveJob, actor: str, unit: Unit | None = None) -> None:
        """An operator has decided about a unit, or done what was asked: the job goes on unless it needs one again."""
        if job.state != JobState.NEEDS_OPERATOR or self._undecided(job, unit):
            return
        if self._stranded(job):
            self._ask_to_take_out(job)
            return
        to = JobState.CANCELLING if is_ending(job) else job.back_to or JobState.RUNNING
        self.flow.changes.job(job, to, actor=actor)
        self.flow.grants.wake_job(job)

    def _undecided(self, job: LiveJob, but: Unit | None = None) -> bool:
        steps = (step for step in job.steps if step.unit is not but)
        return any(step.state == StepState.INTERRUPTED or step.asks for step in steps)


def is_ending(job: LiveJob) -> bool:
    """Tell whether the job was asked to end."""
    return bool(job.ending) or any(step.state == StepState.CANCELLED for step in job.steps)


def is_cleanup_of(step: LiveStep, sample: LiveSample) -> bool:
    """Tell whether a step is part of a clean-up of the sample."""
    return any(member.task.cleanup and member.sample is sample for member in step.members)


def is_cleanup(unit: Unit) -> bool:
    """Tell whether a unit puts away what a job left behind."""
    return any(member.task.cleanup for member in unit.first.members)


def _final_state(sample: LiveSample, cancelled: bool) -> SampleState:
    """Return what becomes of a sample that is given up: by a failure, or (``cancelled``) because its job ends."""
    match sample.job.how:
        case "abort" | "halt":
            return SampleState.FAILED
        case "stop" if cancelled:
            done = any(s.state == StepState.COMPLETED and not is_cleanup_of(s, sample) for s in sample.steps)
            return SampleState.COMPLETED if done and sample.state != SampleState.PLANNED else SampleState.CANCELLED
        case "stop":
            return SampleState.FAILED
    cancelled = cancelled or sample.job.state == JobState.CANCELLING
    return SampleState.CANCELLED if cancelled else SampleState.FAILED


def _runs(step: LiveStep) -> bool:
    return step.state == StepState.RUNNING
