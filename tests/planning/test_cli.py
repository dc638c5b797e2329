"""The command line, and the drawings it makes."""

from __future__ import annotations

import json
from xml.dom import minidom

import pytest
from typer.testing import CliRunner

from scheduler.planning import gantt
from scheduler.planning.cli import app
from scheduler.planning.codec import dump_problem
from scheduler.planning.policies import make_plan
from scheduler.planning.problem import Device, Problem

from .factory import job, kitchen_sink, step

JSP = "2 2\n0 3 1 2\n1 2 0 1\n"


@pytest.fixture
def run():
    runner = CliRunner()
    return lambda *words: runner.invoke(app, [str(word) for word in words])


@pytest.fixture
def shop(tmp_path):
    path = tmp_path / "shop.txt"
    path.write_text(JSP)
    return path


def test_solve_answers_in_file_order_and_check_accepts_the_answer(run, shop, tmp_path):
    done = run("solve", shop, "--format", "jsp", "--policy", "masking", "--deterministic-limit", "0.01", "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert (answer["objective"], answer["bound"], answer["gap"], answer["status"]) == (5, 5, 0.0, "optimal")
    assert answer["starts"] == [0, 3, 0, 3]
    assert answer["modes"] == [0, 0, 0, 0]
    plan = tmp_path / "answer.json"
    plan.write_text(done.stdout)
    checked = run("check", shop, plan, "--format", "jsp", "--json")
    assert (checked.exit_code, json.loads(checked.stdout)["valid"]) == (0, True)
    answer["starts"][1] = 1
    plan.write_text(json.dumps(answer))
    wrong = run("check", shop, plan, "--format", "jsp")
    assert wrong.exit_code == 1
    assert "lag_min" in wrong.stdout


def test_solve_writes_a_plan_that_show_draws(run, shop, tmp_path):
    plan, image = tmp_path / "plan.json", tmp_path / "plan.svg"
    done = run(
        "solve",
        shop,
        "--format",
        "jsp",
        "--policy",
        "masking",
        "--deterministic-limit",
        "0.01",
        "--out",
        plan,
    )
    assert done.exit_code == 0, done.output
    shown = run("show", plan, "--problem", shop, "--format", "jsp", "--svg", image)
    assert shown.exit_code == 0, shown.output
    assert minidom.parse(str(image)).getElementsByTagName("rect").length == 4
    assert run("show", plan).exit_code == 0


def test_the_exit_code_says_that_nothing_feasible_was_found(run, tmp_path):
    path = tmp_path / "p.json"
    path.write_text(dump_problem(Problem((job("a", step("s", 5), deadline=3),))))
    done = run("solve", path, "--policy", "masking", "--deterministic-limit", "0.01", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["objective"] is None


@pytest.mark.parametrize(
    "words",
    [
        ("solve", "nowhere.txt", "--format", "jsp"),
        ("solve", "shop", "--format", "nonsense"),
        ("solve", "shop", "--format", "jsp", "--policy", "best"),
        ("solve", "shop", "--format", "jsp", "--objective", "beauty"),
        ("solve", "shop", "--format", "psplib"),
        ("check", "shop", "nowhere.json", "--format", "jsp"),
        ("check", "shop", "shop", "--format", "jsp"),
        ("solve", "shop", "--format", "jsp", "--cpu-limit", "nan"),
        ("solve", "shop", "--format", "jsp", "--time-limit", "-1"),
        ("solve", "shop", "--format", "jsp", "--seed", "99999999999999999999"),
        ("solve", "shop", "--format", "jsp", "--deterministic-limit", "0.01", "--out", "/nowhere/plan.json"),
    ],
)
def test_wrong_words_are_answered_not_traced(run, shop, words):
    done = run(*(shop if word == "shop" else word for word in words))
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    "plan",
    [
        '{"starts": [0], "modes": [0]}',
        '{"starts": ["0", 1, 2, 3], "modes": [0, 0, 0, 0]}',
        '{"starts": [0, 3, 0, 3], "modes": [0, 0, 0, 9]}',
        '{"starts": {"0": 1}, "ends": {}, "modes": {}}',
        "null",
    ],
)
def test_what_is_no_plan_is_said_not_traced(run, shop, tmp_path, plan):
    path = tmp_path / "plan.json"
    path.write_text(plan)
    for done in (
        run("check", shop, path, "--format", "jsp"),
        run("show", path, "--problem", shop, "--format", "jsp"),
        run("show", path),
    ):
        assert done.exit_code == 2, done.output
        assert "is no plan" in done.output


def test_names_that_look_like_markup_are_only_names(run, tmp_path):
    path, plan = tmp_path / "p.json", tmp_path / "plan.json"
    path.write_text(dump_problem(Problem((job("[/bold]", step("[red]s", 5, "[/d]"), deadline=3),), (Device("[/d]"),))))
    done = run("solve", path, "--policy", "masking", "--deterministic-limit", "0.01", "--out", plan)
    assert done.exit_code == 1
    assert "[/d]" in done.output
    checked = run("check", path, plan)
    assert checked.exit_code == 1
    assert "[red]s" in checked.output
    path.write_text(dump_problem(Problem((job("a", step("s", 5, "[/d]")),))))
    assert "[/d]" in run("solve", path).output


def test_bench_lists_its_suites(run):
    done = run("bench", "list")
    assert done.exit_code == 0
    assert "octopus" in done.stdout


def test_names_in_a_drawing_cannot_break_out(tmp_path):
    problem = kitchen_sink()
    evil = job('"><script>', step("<x>", 3, "arm"))
    from dataclasses import replace

    problem = replace(problem, jobs=(*problem.jobs, evil))
    image = gantt.svg(problem, make_plan(problem))
    assert "<script>" not in image
    minidom.parseString(image)
