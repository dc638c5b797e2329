"""The loop: wait for a bell or the next due time, then handle everything that is ready in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable
from heapq import nsmallest
from typing import Any

import structlog
from django.db import OperationalError, connection

from analysis.documents import DocumentStore
from modules.contract.clock import LabClock
from modules.contract.lab import Lab
from notifications.outbox import Happening, enqueue_many
from octolab.rows import RowsChangedError
from scheduler.process.absent import Absent
from scheduler.process.advisor import Advisor
from scheduler.process.answers import placement_of
from scheduler.process.apply import Requests
from scheduler.process.attempts import Attempts
from scheduler.process.bell import Bell, Ringer
from scheduler.process.bench import AwayError, Bench
from scheduler.process.breaches import Breaches
from scheduler.process.campaigns import Campaigns
from scheduler.process.changes import Changes
from scheduler.process.flow import Flow
from scheduler.process.grants import Grants
from scheduler.process.hosts import Hosts
from scheduler.process.improve import Improver
from scheduler.process.interlocks import Interlocks
from scheduler.process.leader import Leadership
from scheduler.process.live import LabState, LiveJob, LiveStep, Unit
from scheduler.process.load import load_jobs, load_lab, new_job_ids, news, open_job_ids, seat_samples
from scheduler.process.manifests import Manifests
from scheduler.process.orders import LocalNames, OrderSender, make_order
from scheduler.process.people import People
from scheduler.process.plan import Plan
from scheduler.process.predictions import Predictions
from scheduler.process.questions import Questions
from scheduler.process.shares import Shares
from scheduler.process.standby import Standby
from scheduler.process.stocks import Stocks
from scheduler.process.thinning import Thinning
from scheduler.process.versions import write_verdict
from scheduler.services.placement import QUESTIONS, placement_key

log = structlog.get_logger("octolab.scheduler")

IDLE_S = 1.0
"""The longest sleep: a lost doorbell costs no more."""
MOVES_WRITTEN_S = 0.5
"""Predictions of many steps are written no more often than this."""
FEW_MOVES = 64
MOST_MOVES = 400
"""Steps of which it is written at a time where they stand."""
REMEMBER_S = 1.0


class Scheduler:
    """Everything that one leader does. Rebuilt from the database whenever the database and the memory might differ."""

    def __init__(
        self,
        lab: Lab,
        clock: LabClock,
        store: DocumentStore,
        redis_url: str,
        leadership: Leadership,
        *,
        policy: str = "masking",
        improve: bool = True,
    ) -> None:
        self.lab = lab
        self.clock = clock
        self.leadership = leadership
        self.policy = policy
        self.bell = Bell(redis_url)
        self.ringer = Ringer(redis_url)
        self.sender = OrderSender(redis_url)
        self.bench = Bench(store, self.bell.ring)
        self.names = LocalNames(lab)
        self.improver = Improver(self.bell.ring) if improve and policy == "masking" else None
        self.advisor = Advisor(self.bell.ring)
        self.thinning = Thinning()
        self._stop = False
        self._moves_written_s = 0.0
        self._remembered_s = 0.0
        self._full_look_s = 0.0
        self.rebuild()

    def rebuild(self) -> None:
        """Forget the live state and read it again."""
        self.state = LabState()
        self.shares = Shares(self.state, self.clock.scale)
        self.predictions = Predictions(self.state, self.clock.scale)
        self.plan = Plan(self.state, self.policy, self.shares, self.predictions)
        self.grants = Grants(self.state, self.plan)
        self.plan.on_reorder = self.grants.reordered
        self.stocks = Stocks(self.state.stocks)
        self.flow = Flow(self.state, self.grants, self.plan, self.stocks)
        self.questions = Questions(self.state, self.plan, self.advisor)
        self.manifests = Manifests(self.lab, self.bench)
        self.hosts = Hosts(self.flow, self.bench, self.manifests)
        self.attempts = Attempts(self.flow, self.bench, self.manifests, self.clock.scale)
        self.attempts.on_broken = self.hosts.maintenance.quarantine
        self.standby = Standby(self.flow)
        self.requests = Requests(self.flow, self.attempts, self.hosts)
        self.attempts.on_policy = self.requests.control.follow_policy
        self.interlocks = Interlocks(self.lab, self.flow, self.bench, self.requests.control, self.hosts.show)
        self.people = People(self.flow, self.attempts)
        self.requests.add(self.interlocks.verbs)
        self.requests.add(self.people.verbs)
        self.breaches = Breaches(self.flow, self.requests.control)
        self.requests.add(self.breaches.verbs)
        self.campaigns = Campaigns(self.flow)
        self.absent = Absent(self.state, self.requests.control)
        self.grants.on_breach = self.breaches.note
        self.hosts.look_further = self.interlocks.look
        load_lab(self.state)
        self.people.load(self.lab, self.clock)
        self.stocks.load()
        self.shares.load()
        self.predictions.load()
        self.manifests.load(self.flow)
        self.hosts.maintenance.load()
        self.interlocks.load()
        now_s = self.clock.now()
        self.flow.changes = Changes(now_s)
        self._take_in(load_jobs(open_job_ids()), now_s)

    # --- the life of the process

    def run(self) -> None:
        """Lead until told to stop, or until another scheduler has taken over (:class:`LeadershipLostError`)."""
        self.bell.start()
        try:
            while not self._stop:
                self.turn()
                self.bell.wait(self.sleep_s())
        finally:
            self.close()

    def close(self) -> None:
        """Close all connections, and end the child."""
        self.bell.stop()
        self.ringer.close()
        self.sender.close()
        self.advisor.stop()
        if self.improver is not None:
            self.improver.stop()

    def stop(self) -> None:
        """End after the present turn."""
        self._stop = True
        self.bell.ring()

    def sleep_s(self) -> float:
        """Return how many real seconds there is nothing to do for."""
        if self.plan.predictions.under_way:
            return 0.0
        due = [s for s in (self.standby.next_s(), self.grants.next_due_s()) if s is not None]
        sleep_s = min(IDLE_S, max(0.0, self.hosts.look_s() - time.monotonic()))
        if self.plan.stale:
            sleep_s = min(sleep_s, max(0.0, self.plan.repair_in_s))
        if due:
            sleep_s = min(sleep_s, max(0.0, self.clock.real_seconds(min(due) - self.clock.now())))
        return sleep_s

    def turn(self) -> None:
        """Handle everything that is ready, in one transaction."""
        try:
            self._turn()
            self.leadership.renew()
        except (RowsChangedError, OperationalError) as error:
            # The memory is ahead of the database: what is written there is what counts.
            log.warning("turn not written, reading everything again", error=str(error)[:300])
            connection.close()
            time.sleep(0.2)
            self.rebuild()

    def _turn(self) -> None:
        now_s = self.clock.now()
        changes = self.flow.changes = Changes(now_s)
        self.flow.dispatched, self.flow.finished = [], []
        answers: dict[str, Any] = {}
        new_jobs, open_requests = news()
        new = self._take_in(load_jobs(new_job_ids()), now_s) if new_jobs else []
        self._ask_bench(self.attempts.look)
        if self.bell.take_latched() or self.state.emergency_seen:
            self.state.emergency_seen = False
            self.hosts.look_soon()
        if open_requests:
            self.requests.apply(answers)
        self.standby.end_due(now_s)
        if time.monotonic() >= self.hosts.look_s():
            self.campaigns.look()
            self._ask_bench(self.absent.look)
            self._ask_bench(self._look_at_hosts)
        self._adopt_better_plan(now_s)
        self._grant(now_s)
        orders = self._orders()
        self._note_moves(changes)
        for job in new:
            answers[placement_key(job.id)] = placement_of(job)
        self.shares.charge(changes)
        self.predictions.write(changes)
        changes.commit(self.leadership, notify)
        if orders:
            self.sender.send(orders)
        if changes.happenings or answers:
            self.ringer.events(answers)
        self.ringer.controls(self.requests.controls_written())
        for job in self.flow.finished:
            self.state.forget(job)
        if open_requests:
            self.requests.dismiss()
            self.bell.ring()
        if self.flow.finished and self.policy == "fcfs":
            self.grants.wake_all()
            self.bell.ring()
        self._send_again()
        self._thin_out()
        self._repair(now_s)
        self._answer_questions(now_s)
        self._remember()
        self.plan.predictions.go_on()
        if self.improver is not None:
            self.improver.offer(self.plan, self.state, now_s, self.leadership.plan_version)

    # --- parts of a turn

    def _take_in(self, jobs: list[LiveJob], now_s: float) -> list[LiveJob]:
        """Add jobs to the live state and to the plan; return those that are new to the plan."""
        new = []
        for job in jobs:
            self.state.add(job)
            seat_samples(self.state, job.samples)
            if not job.placed:
                job.placed = True
                self.flow.changes.touch(job)
                new.append(job)
        self.campaigns.follow(jobs)
        if jobs:
            self.predictions.recall(jobs)
            self.plan.place(jobs, now_s)
        for job in jobs:
            for unit in job.units:
                self._resume(unit)
        self.attempts.adopt(unit for job in jobs for unit in job.units)
        for job in jobs:
            self.requests.resume(job)
        return new

    def _resume(self, unit: Unit) -> None:
        """Put a unit where it belongs: into the queues, onto its devices, onto its timer."""
        self.grants.add(unit)
        if unit.standby:
            self.standby.follow(unit)
        self.flow.resume(unit)

    def _look_at_hosts(self) -> None:
        for unit in self.hosts.look():
            self.attempts.lose(unit)

    def _grant(self, now_s: float) -> None:
        """Start whatever may start; standbys that are over already end at once, and more may follow."""
        self.grants.bench_away = self.bench.away
        for _ in range(1000):
            if self.plan.wanted:
                self.plan.repair(now_s)
            started = False
            for unit in self.grants.ready(now_s):
                self.flow.grant(unit)
                self.standby.follow(unit)
                started = True
            self.breaches.ask_all()
            ended = self.standby.end_due(now_s)
            if not (started or ended or self.plan.wanted):
                return

    def _repair(self, now_s: float) -> None:
        """Bring stale times up to date once the orders are out: nothing that starts in order waits for that."""
        if self.plan.due_for_repair:
            self.plan.repair(now_s)
            self.bell.ring()

    def _orders(self) -> list[tuple[Unit, Any]]:
        self.attempts.sent(self.flow.dispatched)
        for unit in self.flow.dispatched:
            if unit.person:
                self.people.ask(unit)
        return [(unit, self._order(unit)) for unit in self.flow.dispatched if not unit.person]

    def _order(self, unit: Unit) -> Any:
        parameters = {member.pk: member.task.parameters for member in unit.first.alive}
        return make_order(unit, self.names, self.leadership.epoch, parameters)

    def _send_again(self) -> None:
        """Send again what nobody claimed. An order that is not durable is never sent: this follows the commit."""
        changes = self.flow.changes = Changes(self.clock.now())
        units: list[Unit] = []
        self._ask_bench(lambda: units.extend(self.attempts.unanswered(time.monotonic())))
        changes.commit(self.leadership, notify)
        if units:
            self.sender.send((unit, self._order(unit)) for unit in units)

    def _thin_out(self) -> None:
        """Delete a little of what is old, once the orders are out."""
        changes = Changes(self.clock.now())
        self.thinning.go_on(changes)
        changes.commit(self.leadership, notify)

    def _note_moves(self, changes: Changes) -> None:
        """Write where steps stand in the plan: at once if few moved, else no more than once a second."""
        moved, foreseen = self.plan.published.moved, self.plan.published.foreseen
        now_s = time.monotonic()
        if not (moved or foreseen) or (
            len(moved) + len(foreseen) > FEW_MOVES and now_s - self._moves_written_s < MOVES_WRITTEN_S
        ):
            return
        changes.predicted.update((name, job) for name, job in foreseen.items() if not job.final)
        foreseen.clear()
        # A whole plan in one transaction would keep those waiting who submit meanwhile: what is next goes first.
        part = {step.id: step for step in nsmallest(MOST_MOVES, moved.values(), key=_start_s)}
        for name, step in part.items():
            del moved[name]
            if name in self.state.steps:
                changes.moved[name] = step
                if not step.job.final:
                    changes.predicted[step.job.id] = step.job
        changes.plan_moved = len(part)
        if part:
            self.plan.versions.write(changes, self.leadership.plan_version + 1, part, more=bool(moved))
        self._moves_written_s = now_s

    def _adopt_better_plan(self, now_s: float) -> None:
        if self.improver is None:
            return
        self.improver.adopt(self.plan, now_s)
        verdict, self.improver.verdict = self.improver.verdict, None
        if verdict is not None:
            write_verdict(self.flow.changes, verdict)

    def _answer_questions(self, now_s: float) -> None:
        asked = self.ringer.questions(QUESTIONS, 8) if self.bell.take_asked() else []
        answers = self.questions.answer(asked, now_s)
        said = self.questions.advised()
        if answers or said:
            self.ringer.events({**answers, **said})
        self.advisor.look(self.plan, now_s, idle=not self.bell.rung)

    def _remember(self) -> None:
        if time.monotonic() - self._remembered_s >= REMEMBER_S:
            self._remembered_s = time.monotonic()
            self._ask_bench(lambda: self.bench.remember_clock(self.clock.now()))
            self.plan.notice_overruns(self.clock.now())
            self.plan.notice_unfairness(self.clock.now())
            # Should a wake-up ever be missed, it costs a second and leaves a trace.
            self._look_for_missed(self.clock.now())

    def _look_for_missed(self, now_s: float) -> None:
        if self.bench.away:
            return
        for unit in self.state.units.values():
            if unit.queued and self.grants.may_start(unit, now_s):
                log.warning("a unit could have started earlier", unit=unit.id)
                self.grants.wake(unit)
                self.bell.ring()

    def _ask_bench(self, question: Callable[[], None]) -> None:
        try:
            question()
        except AwayError:
            self.grants.bench_away = True


def _start_s(step: LiveStep) -> float:
    return step.planned_start_s or 0.0


def notify(outbox: list[tuple[LiveJob, str]]) -> None:
    """Queue the messages about jobs, in the transaction that changed them."""
    if not outbox:
        return
    enqueue_many(Happening(event, job.id, job.reason) for job, event in outbox)
