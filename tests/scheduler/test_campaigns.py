"""Values from other jobs of a campaign: waited for in sight, put in with where they come from."""

from __future__ import annotations

from scheduler import models
from tests.scheduler.harness import Bench, S, make_user, states

MAKES = S("look", {"eye": "use"}, key="look", task="look")
TAKES = S("act", {"arm": "use"}, task="act", parameters={"depth": {"ref": "look.turns", "job": "first"}, "n": 1})


def job(bench: Bench, key: str, *steps: S, **fields: object) -> models.Job:
    made = bench.job(*steps, name=key, **fields)
    models.Job.objects.filter(pk=made.pk).update(campaign="series", campaign_key=key)
    made.refresh_from_db()
    return made


def reason(of: models.Job) -> str:
    return of.steps.get().reason


def test_a_value_of_a_job_that_comes_later_is_waited_for_and_its_origin_kept(bench: Bench) -> None:
    second = job(bench, "second", TAKES)
    bench.look()
    bench.look()
    assert states(second) == {"act": "waiting"}
    assert "not submitted yet" in reason(second)
    first = job(bench, "first", MAKES)
    bench.turn()
    bench.look()
    assert "look.turns` of job `first`" in reason(second)
    [order] = bench.host.claim()
    assert order.job_id == str(first.id)
    bench.host.close(order, results={"turns": 4.0})
    bench.turn()
    bench.restart()
    bench.look()
    bench.turn()
    [order] = bench.host.claim()
    [member] = order.members
    assert member.parameters == {"depth": 4.0, "n": 1}
    made = first.steps.get().members.get()
    assert member.origins["depth"] == {
        "ref": "first.look.turns", "job": str(first.id), "task": str(made.task_id), "run_uid": str(made.run_uid),
        "value": 4.0,
    }  # fmt: skip
    assert second.tasks.get().origins == member.origins
    assert reason(second) == ""


def test_if_the_other_job_ends_without_it_the_sample_is_given_up(bench: Bench) -> None:
    second = job(bench, "second", TAKES, S("other", {"pump": "use"}, samples=[1]), samples=2)
    first = job(bench, "first", MAKES)
    bench.turn()
    for order in bench.host.claim():
        bench.host.close(order, "failed" if order.job_id == str(first.id) else "completed", error="no light")
    bench.turn()
    bench.look()
    bench.look()
    second.refresh_from_db()
    assert (second.state, second.samples_failed) == ("completed", 1)
    assert "has ended (failed) without `look.turns`" in second.samples.get(index=0).reason


def test_jobs_of_other_projects_and_campaigns_are_not_meant(bench: Bench) -> None:
    second = job(bench, "second", TAKES)
    other = job(bench, "first", MAKES)
    models.Job.objects.filter(pk=other.pk).update(campaign="another")
    stranger = job(bench, "first", MAKES)
    models.Job.objects.filter(pk=stranger.pk).update(project=make_user("eve").personal_project)
    bench.turn()
    for order in bench.host.claim():
        bench.host.close(order, results={"turns": 4.0})
    bench.turn()
    bench.look()
    assert "not submitted yet" in reason(second)


def test_among_several_samples_the_one_of_the_same_name_is_meant(bench: Bench) -> None:
    looks = [S(f"look{i}", {"eye": "use"}, key="look", task="look", samples=[i]) for i in range(2)]
    job(bench, "first", *looks, samples=2)
    for mass in (1.0, 2.0):
        bench.turn(10)
        for order in bench.host.claim():
            bench.host.close(order, results={"turns": mass})
    bench.turn()
    second = job(
        bench, "second",
        *(S(f"{i}", {"arm": "use"}, task="act", samples=[i], parameters=TAKES.parameters) for i in range(3)), samples=3,
    )  # fmt: skip
    bench.turn()
    bench.look()
    bench.look()
    values = {task.samples.get().name: task.origins.get("depth", {}).get("value") for task in second.tasks.all()}
    assert values == {"s0": 1.0, "s1": 2.0, "s2": None}
    assert "none is called `s2`" in second.samples.get(index=2).reason
