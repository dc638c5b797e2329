"""The plan in force: kept in a masking table, published to units as order and times, repaired when it is wrong.

New jobs are inserted at once, whatever a plan of everything costs. Deviations only mark the plan as stale, because
execution follows its order anyway; a repair places everything that waits again, in the same order, and is done when
someone needs true times (a window is about to open) or when it is cheap next to the time that has passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from traceback import format_exc
from typing import Any

import structlog

from scheduler.planning.editable import EditableTable
from scheduler.planning.plan import Plan as SolvedPlan
from scheduler.planning.problem import Problem
from scheduler.process.choice import Choice
from scheduler.process.cycles import cycle_of, is_placeholder
from scheduler.process.live import LabState, LiveJob, LiveStep, Unit
from scheduler.process.predictions import Predictions
from scheduler.process.problem import TICK_S, make_job, make_problem, place_id, seconds, setting_keys, tick_of
from scheduler.process.published import Published, puts_away
from scheduler.process.shares import Shares
from scheduler.process.turns import LAST, NEW_RATIO, RATIO, Order, Turns, arrange
from scheduler.process.versions import Versions
from scheduler.states import JobState

log = structlog.get_logger("octolab.scheduler")

POLICIES = ("masking", "fcfs")
REPAIR_SHARE = 10
"""A repair waits until this many times its own length has passed since the last one …"""
URGENT_SHARE = 2
"""… or this many, if something waits for true times."""
ALMOST_S = 1.5 * TICK_S
"""Deviations (lab seconds) that nobody needs to hear of."""
AT_ONCE_S = 0.03
"""If a repair takes longer (real seconds), who comes and is not to stand at the end of the line is moved up later."""


class Plan:
    """Order and times of everything that waits.

    Parameters
    ----------
    policy
        ``masking``: steps of all jobs share the devices. ``fcfs``: one job in the lab at a time.
    """

    def __init__(
        self,
        state: LabState,
        policy: str = "masking",
        shares: Shares | None = None,
        predictions: Predictions | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise ValueError(f"there is no policy {policy!r}; choose one of {', '.join(POLICIES)}")
        self.state = state
        self.policy = policy
        self.shares = shares or Shares(state)
        self.predictions = predictions or Predictions(state)
        self.versions = Versions(state)
        self.published = Published(state, self.versions)
        self.stale = False
        self.wanted = False
        """Whether a repair is to be done in this very turn."""
        self.urgent = False
        """Whether something waits for a repair."""
        self._ratio = RATIO
        """What the next repair calls unfair."""
        self._tried_for: frozenset[tuple[str, bool, bool]] = frozenset()
        """For which jobs, begun or not, other orders were tried."""
        self.on_reorder: Callable[[], None] = lambda: None
        """Called as soon as the orders of queued units have changed, or who waited for true times waits no longer."""
        self.changes_seen = 0
        """Counts all that makes another plan possible or necessary; see the planner child."""
        self._table: EditableTable | None = None
        self._serials = 0
        self._repaired_s = 0.0
        self.cost_s = 0.0
        """How long (real seconds) the last repair took."""

    # --- what the grants ask (scheduler.process.grants.Gate)

    def may_open(self, unit: Unit) -> bool:
        """Tell whether the unit's job may be in the lab now."""
        if self.policy != "fcfs" or unit.job.started_s is not None:
            return True
        oldest = next(
            (job for job in self.state.jobs.values() if job.state in (JobState.QUEUED, JobState.RUNNING)), None
        )
        return oldest is unit.job

    def fresh(self, now_s: float) -> bool:
        """Tell whether the times can be relied on; if not, a repair is wanted as soon as it can be afforded."""
        if self.stale:
            self.urgent = True
            self.wanted = self.wanted or self.repair_in_s <= 0
        return not (self.stale or self.wanted)

    # --- what happens

    def place(self, jobs: Iterable[LiveJob], now_s: float) -> None:
        """Put new jobs into the plan at the earliest places, moving nothing else."""
        jobs = list(jobs)
        for job in jobs:
            self.predictions.study(job)
            for unit in job.units:
                self._serials += 1
                planned_s = unit.first.planned_start_s
                unit.order = (LAST if planned_s is None else planned_s, self._serials)
                unit.early = not _opens_window(unit)
        # Without a new ranking the new jobs are at the end of the line, where they are unfair to nobody.
        ranked = self.policy == "masking" and self.shares.rank(now_s, jobs)
        unfair = ranked and (
            self._unfair(NEW_RATIO) or bool(self.shares.line.turns_before_begun(job.id for job in jobs))
        )
        if self._table is None or self._unknown(jobs) or (unfair and self._cheap):
            self.repair(now_s, ratio=NEW_RATIO)
            return
        for job in jobs:
            try:
                self._insert(self._table, job, now_s)
            except Exception:
                # Without a place it comes last; execution never waits for planning.
                log.error("job could not be planned", job=job.id, error=format_exc())
                self._table = None
                return
            self.changes_seen += 1
        if unfair:
            self._move_up_later(jobs)
        else:
            for job in jobs:
                self.predictions.include(job, now_s)

    def _move_up_later(self, jobs: Iterable[LiveJob]) -> None:
        """Have the next repair put jobs where they belong. Until then nothing is told of them: it would be wrong."""
        self._ratio = NEW_RATIO
        self.mark_stale()
        for job in jobs:
            job.predicted_start_s = job.predicted_finish_s = None

    @property
    def _cheap(self) -> bool:
        """Whether a repair may be done while somebody waits for the answer to a submit."""
        return self.cost_s <= AT_ONCE_S and time.monotonic() - self._repaired_s >= URGENT_SHARE * self.cost_s

    def begun(self, unit: Unit, at_s: float) -> None:
        """A unit started."""
        self._compare(unit.first.planned_start_s, at_s)

    def ended(self, unit: Unit, at_s: float) -> None:
        """A unit ended."""
        self._compare(unit.steps[-1].planned_end_s, at_s)

    def dropped(self, step: LiveStep) -> None:
        """A step will not be done."""
        self.mark_stale()

    def returned(self, unit: Unit) -> None:
        """A unit that had started waits again."""
        self.mark_stale()

    def called(self, units: Iterable[Unit]) -> None:
        """Clean-up was called for: it stands behind what is planned until the next repair, which is now."""
        self.mark_stale()
        self.wanted = True

    def mark_stale(self) -> None:
        """Note that the plan's times are wrong."""
        self.stale = True
        self.changes_seen += 1

    def notice_overruns(self, now_s: float) -> None:
        """Mark the plan as stale if something that runs should be over."""
        for step in self.state.steps.values():
            if step.started_s is None or step.final or step.planned_end_s is None:
                continue
            if step.planned_end_s < now_s - ALMOST_S:
                self.stale = True
                return

    def notice_unfairness(self, now_s: float) -> None:
        """Rank again now and then, because use decays and jobs grow old; have the plan repaired if it is unfair."""
        if self.policy != "masking" or not self.shares.due:
            return
        self.shares.rank(now_s)
        if self._unfair(RATIO):
            self.mark_stale()

    def _compare(self, planned_s: float | None, at_s: float) -> None:
        if planned_s is None or abs(planned_s - at_s) > ALMOST_S:
            self.mark_stale()

    @property
    def repair_in_s(self) -> float:
        """Real seconds until a stale plan is repaired; not positive if that is due now."""
        share = URGENT_SHARE if self.urgent else REPAIR_SHARE
        return self._repaired_s + share * self.cost_s - time.monotonic()

    @property
    def due_for_repair(self) -> bool:
        """Whether a repair should be done now."""
        return self.wanted or (self.stale and self.repair_in_s <= 0)

    # --- placing

    def _unfair(self, ratio: float, order: Mapping[str, int] | None = None) -> bool:
        """Whether by the plan in force (or by other starts) a job that has not begun goes before one that should."""
        if self.policy != "masking":
            return False
        waiting = [job for job in self.state.jobs.values() if job.started_s is None and job.schedulable and job.units]
        first = {job.id: min(self._rank_of_unit(unit, order) for unit in job.units) for job in waiting}
        return self.shares.line.unfair({job.id: job.plan_weight for job in waiting}, first, ratio)

    @staticmethod
    def _rank_of_unit(unit: Unit, order: Mapping[str, int] | None) -> tuple[float, ...]:
        if order is None or unit.first.id not in order:
            return unit.order
        return (seconds(order[unit.first.id]), unit.order[-1])

    def _unknown(self, jobs: list[LiveJob]) -> bool:
        """Whether jobs name a setting, or keep a device still, for which the table has no calendar."""
        table = self._table
        if table is None:
            return True
        stills = {d for job in jobs for step in job.steps for d, mode in step.devices.items() if mode == "still"}
        held = self.state.places.held
        places = {place_id(r) for job in jobs for step in job.steps for r in step.takes if r in held}
        known = {d.id for d in table.problem.devices} | {r.id for r in table.problem.resources}
        return not (setting_keys(jobs) | places <= known and all(map(table.shares, stills)))

    def _insert(self, table: EditableTable, live: LiveJob, now_s: float) -> None:
        table.now = max(table.now, tick_of(now_s))
        job = make_job(self.state, live, table.now, set())
        if job is None:
            return
        table.now = max(table.now, tick_of(self.opens_s(live)))
        order = table.add_job(job)
        refusal = table.place(order)
        if refusal is not None:
            refusal = table.place(order, elastic=True)
            self.versions.made_by("insert", broken=1)
        if refusal is not None:
            log.warning("job has no place in the plan yet", job=live.id)
            self.stale = True
        self.published.tell(table, [live])

    def repair(self, now_s: float, *, ratio: float = RATIO) -> None:
        """Place everything that waits again, in the present order, or by turn if that order is unfair by this ratio."""
        began_s = time.monotonic()
        try:
            self.predictions.study_again()
            self._look_at_shares(now_s)
            there = frozenset((job.id, job.started_s is None, job.schedulable) for job in self.state.jobs.values())
            choice = arrange(
                make_problem(self.state, now_s),
                self._turns(),
                self.shares.standings,
                ratio=min(ratio, self._ratio),
                anew=there != self._tried_for,
            )
            self._tried_for = there
        except Exception:
            # The order in force still holds: what is planned wrongly is executed correctly.
            log.error("the plan could not be repaired", error=format_exc())
            self.stale = self.wanted = self.urgent = False
            self._repaired_s, self.cost_s = time.monotonic(), 1.0
            self.on_reorder()
            return
        self.versions.made_by("repair", choice.value[0])
        self._take_over(choice.table, now_s)
        self._repaired_s = time.monotonic()
        self.cost_s = self._repaired_s - began_s

    def _look_at_shares(self, now_s: float) -> None:
        if self.policy == "masking":
            self.shares.rank(now_s)
        else:
            self.shares.look(now_s)

    def opens_s(self, new: LiveJob) -> float:
        """Return the lab time before which a new job does not begin, whatever is free."""
        if self.policy != "fcfs":
            return 0.0
        return max((job.predicted_finish_s or 0.0 for job in self.state.jobs.values() if job is not new), default=0.0)

    def places_anew(self, job: LiveJob) -> bool:
        """Whether everything is placed again before anything can be said of a new job."""
        return self.stale or self.wanted or self._unknown([job])

    def _take_over(self, table: EditableTable, now_s: float) -> None:
        self._table = table
        self.published.tell(table, self.state.jobs.values())
        self.predictions.refresh(now_s)
        self.on_reorder()
        self.stale = self.wanted = self.urgent = False
        self._ratio = RATIO

    def snapshot(self, now_s: float) -> tuple[Problem, SolvedPlan] | None:
        """Return what the planner child needs: the problem as it is now, and the plan in force for it, if there is one.

        Of a plan whose times are out of date the child keeps the order.
        """
        if self.policy != "masking":
            return None
        problem, plan = self.present(now_s)
        return (problem, plan) if len(plan.starts) == sum(1 for _ in problem.steps()) else None

    def present(self, now_s: float) -> tuple[Problem, SolvedPlan]:
        """Return the problem as it is now, and the plan in force as it was published last."""
        problem = make_problem(self.state, now_s)
        fixed = {item.step: item for item in problem.fixed}
        starts: dict[str, int] = {}
        ends: dict[str, int] = {}
        for step in problem.steps():
            item = fixed.get(step.id)
            if is_placeholder(step.id):
                if step.id in self.published.expected:
                    starts[step.id] = max(problem.now, self.published.expected[step.id])
                    ends[step.id] = starts[step.id] + step.modes[0].duration
                continue
            live = self.state.steps[step.id]
            if item is not None:
                starts[step.id], ends[step.id] = item.start, item.end
            elif live.planned_start_s is not None:
                starts[step.id] = max(problem.now, round(live.planned_start_s / TICK_S))
                ends[step.id] = starts[step.id] + step.modes[0].duration
        return problem, SolvedPlan(starts, ends, dict.fromkeys(starts, 0), version=self.changes_seen)

    def try_order(self, starts: Mapping[str, int], now_s: float) -> bool:
        """Take over a plan that was searched for (step → tick) if what is left of it is better now.

        The world has moved on since the snapshot, so both that plan and the one in force are placed anew, compared by
        the objective, and the winner is checked independently.
        """
        problem, present = self.present(now_s)
        self.shares.look(now_s)
        choice = Choice(problem, Order(problem, self._turns(), self.shares.standings).rank, present.starts)
        if not choice.try_plan(
            starts, lambda step: self._rank_in(starts, step), lambda found: not self._unfair(RATIO, found)
        ):
            return False
        log.info("better plan", objective=choice.value, before=choice.value_before)
        self.versions.made_by("search", choice.value[0])
        self._take_over(choice.table, now_s)
        self.changes_seen += 1
        return True

    def _rank_in(self, order: Mapping[str, int], step_id: str) -> tuple[float, ...]:
        if is_placeholder(step_id):
            # Whatever is there already goes before what is only expected.
            return (LAST, order.get(step_id, LAST), cycle_of(step_id))
        unit = self.state.steps[step_id].unit
        planned_s = unit.order[0]
        return (order.get(step_id, planned_s if planned_s == LAST else tick_of(planned_s)), unit.order[-1])

    def picture(self, now_s: float) -> dict[str, Any]:
        """Return what a planner child has to know to answer questions."""
        problem, plan = self.present(now_s)
        self.shares.look(now_s)
        return {"problem": problem, "plan": plan, "turns": self._turns()}

    def _turns(self) -> Turns:
        """Return who goes when, as plain data."""
        steps = self.state.steps.values()
        return Turns(
            self.shares.line,
            {step.id: step.unit.order for step in steps if not step.final},
            tuple(step.id for step in steps if puts_away(step)),
            dict(self.published.expected),
            self.policy == "fcfs",
        )


def _opens_window(unit: Unit) -> bool:
    """Whether something must follow the unit within a time."""
    ids = {step.id for step in unit.steps}
    return any(
        need.step in ids and need.max_s is not None
        for step in unit.steps
        for follower in step.followers
        if follower.unit is not unit
        for need in follower.needs
    )
