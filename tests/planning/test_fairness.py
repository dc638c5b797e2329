"""Fair share as a library: who has used much stands behind, and nobody's flood reaches anybody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octolab.bench import fairness as bench
from scheduler.planning.fairness import MOST, Claim, Standing, Uses, rank

WEEK_S = 7 * 24 * 3600.0
HOUR_S = 3600.0


def claim(name: str, user: str = "ann", project: str = "", **options: float) -> Claim:
    return Claim(name, user, project or user, **{"submitted_s": 0.0, "work_s": HOUR_S, **options})  # type: ignore[arg-type]


def order(claims: list[Claim], uses: Uses | None = None, now_s: float = 0.0, **shares: float) -> list[str]:
    ranked = rank(claims, uses or Uses(WEEK_S), shares, now_s)
    return sorted(ranked, key=lambda name: ranked[name].turn)


@st.composite
def claims_(draw: st.DrawFn) -> list[Claim]:
    number = draw(st.integers(0, 25))
    return [
        claim(
            f"j{n:02d}",
            draw(st.sampled_from("abc")),
            draw(st.sampled_from("PQ")),
            submitted_s=draw(st.floats(0, 1e6)),
            work_s=draw(st.floats(0, 1e5)),
            priority=draw(st.integers(-10, 10)),
            deadline_s=draw(st.none() | st.floats(0, 2e6)),  # type: ignore[arg-type]
        )
        for n in range(number)
    ]


@given(claims_(), st.dictionaries(st.sampled_from("PQ"), st.floats(0.1, 10)), st.randoms())
def test_every_job_has_one_turn_and_weights_fall_with_it(
    claims: list[Claim], shares: dict[str, float], rng: object
) -> None:
    uses = Uses(WEEK_S)
    uses.charge("a", "P", 5e4, 0.0)
    ranked = rank(claims, uses, shares, 1e6)
    assert sorted(standing.turn for standing in ranked.values()) == list(range(len(claims)))
    weights = [standing.weight for standing in sorted(ranked.values(), key=lambda s: s.turn)]
    assert weights == sorted(weights, reverse=True)
    assert all(1 <= weight <= MOST for weight in weights)
    for standing in ranked.values():
        assert standing.fair <= 0
        parts = standing.priority + standing.age + standing.deadline + standing.fair
        assert standing.total == pytest.approx(parts)
    shuffled = list(claims)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rank(shuffled, uses, shares, 1e6) == ranked, "the order of asking does not count"


@given(claims_())
def test_one_user_s_jobs_go_by_priority_then_age(claims: list[Claim]) -> None:
    mine = [
        claim(one.id, submitted_s=one.submitted_s, work_s=one.work_s, priority=one.priority, deadline_s=None)  # type: ignore[arg-type]
        for one in claims
    ]
    for one in mine:
        object.__setattr__(one, "submitted_s", 1e6)
    by_id = {one.id: one for one in mine}
    assert order(mine, now_s=1e6) == sorted(by_id, key=lambda name: (-by_id[name].priority, name))


def test_a_flood_leaves_the_first_place_but_one_to_the_others() -> None:
    flood = [claim(f"f{n:03d}", "flood") for n in range(500)]
    assert order([*flood, claim("light", "ben", submitted_s=10.0)], now_s=10.0).index("light") <= 1


def test_many_projects_give_nobody_more_than_one_share() -> None:
    many = [claim(f"m{n:02d}", "greedy", f"project{n}") for n in range(20)]
    one = [claim(f"o{n:02d}", "ben") for n in range(20)]
    first_twenty = order([*many, *one])[:20]
    assert sum(name.startswith("o") for name in first_twenty) >= 9


def test_within_a_project_the_user_who_has_used_less_comes_first() -> None:
    uses = Uses(WEEK_S)
    uses.charge("ann", "team", 10 * HOUR_S, 0.0)
    assert order([claim("a", "ann", "team"), claim("b", "ben", "team")], uses) == ["b", "a"]


def test_shares_are_proportions() -> None:
    claims = [claim(f"{project}{n:02d}", project) for project in "PQ" for n in range(40)]
    first = order(claims, P=1.0, Q=3.0)[:40]
    assert sum(name.startswith("Q") for name in first) == 30


def test_use_is_forgotten_by_half_lives() -> None:
    uses = Uses(HOUR_S)
    uses.charge("ann", "P", 100.0, 0.0)
    assert uses.of(("ann", "P"), HOUR_S) == pytest.approx(50.0)
    uses.charge("ann", "P", 10.0, 2 * HOUR_S)
    assert uses.of(("ann", "P"), 2 * HOUR_S) == pytest.approx(35.0)
    uses.charge("ann", "P", 0.0, 0.0)
    assert uses.of(("ann", "P"), 2 * HOUR_S) == pytest.approx(35.0), "a clock that goes back brings nothing back"


def test_age_and_deadline_lift() -> None:
    def only(**options: float) -> Standing:
        return rank([claim("x", **options)], Uses(WEEK_S), {}, 86_400.0)["x"]

    assert only(submitted_s=86_400.0).age == 0.0
    assert only().age == pytest.approx(1.0)
    assert only(submitted_s=-9e9).age == 3.0
    late, soon = only(deadline_s=0.0), only(deadline_s=86_400.0 + 10 * HOUR_S)
    assert late.deadline == 3.0
    assert 0 < soon.deadline < 3.0


def test_a_flood_delays_the_other_by_at_most_one_running_task() -> None:
    figures = bench.flood(jobs=60, seeds=2)
    assert figures["worst_delay_of_the_other's_first_job_min"]["fair"] <= figures["longest_task_min"]


def test_light_users_are_protected_for_little_makespan() -> None:
    figures = bench.mixed(2, ("fcfs", "fair"))
    found = figures["stretch_and_makespan"]
    assert found["fair"]["light users"] <= 2.5 < found["fcfs"]["light users"]
    assert figures["makespan_cost_percent"] <= 5
