"""Readers of public instances, each with a hand-made file of its format."""

from __future__ import annotations

import pytest

from scheduler.planning.checker import check
from scheduler.planning.codec import dump_problem
from scheduler.planning.formats import FormatError, read
from scheduler.planning.policies import make_plan

from .factory import kitchen_sink

SM = """************************************************************************
  - renewable                 :  2   R
  - nonrenewable              :  0   N
************************************************************************
PRECEDENCE RELATIONS:
jobnr.    #modes  #successors   successors
   1        1          2           2   3
   2        1          1           4
   3        1          1           4
   4        1          0
************************************************************************
REQUESTS/DURATIONS:
jobnr. mode duration  R 1  R 2
------------------------------------------------------------------------
  1      1     0       0    0
  2      1     3       2    0
  3      1     4       1    1
  4      1     0       0    0
************************************************************************
RESOURCEAVAILABILITIES:
  R 1  R 2
    2    1
************************************************************************
"""
SCH = """2 1 0 0
0 1 2 1 2 [0] [0]
1 1 2 2 3 [2] [3]
2 1 2 1 3 [-4] [1]
3 1 0
0 1 0 0
1 1 3 1
2 1 1 1
3 1 0 0
1
"""


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_job_shop(tmp_path):
    problem = read(write(tmp_path, "a.txt", "2 2\n0 3 1 2\n1 2 0 1\n"), "jsp")
    assert [step.modes[0].duration for step in problem.steps()] == [3, 2, 2, 1]
    plan = make_plan(problem, objective="makespan")
    assert (plan.makespan, plan.status) == (5, "optimal")


def test_flexible_job_shop_with_machines_from_zero_and_from_one(tmp_path):
    zero = read(write(tmp_path, "a.txt", "1 2\n2 2 0 5 1 3 1 0 4\n"), "fjsp")
    one = read(write(tmp_path, "b.txt", "1 2 1.5\n2 2 1 5 2 3 1 1 4\n"), "fjsp")
    assert zero.jobs == one.jobs
    plan = make_plan(zero, objective="makespan")
    assert plan.makespan == 7
    assert plan.modes["0"] == 1


def test_psplib(tmp_path):
    problem = read(write(tmp_path, "a.sm", SM), "psplib")
    assert make_plan(problem, objective="makespan").makespan == 7


def test_rcpsp_max(tmp_path):
    problem = read(write(tmp_path, "a.sch", SCH), "rcpsp_max")
    plan = make_plan(problem, objective="makespan")
    # 2 may start at most 4 after... 1 starts at most 4 before 3's tail: 1 at 0, 2 at 3, end at 4.
    assert plan.makespan == 4
    assert check(problem, plan) == []


def test_slab_copies(tmp_path):
    folder = tmp_path / "lab"
    folder.mkdir()
    write(folder, "machines.tsv", "Machine_ID\tMachine_type\tMachine_name\n1\t1\tarm\n2\t2\tx\n3\t2\ty\n")
    write(
        folder,
        "operations.tsv",
        "Job_ID\tOperation_ID\tCompatible_machine\tProcessing_time\tNote\n1\t1\t1\t2\t\n1\t2\t2\t5\t\n",
    )
    write(folder, "dependency.tsv", "Job_ID\tOperation_ID_1\tOperation_ID_2\n1\t1\t2\n")
    tcmb = "Job_ID\tOperation_ID_1\tPoint_1\tOperation_ID_2\tPoint_2\tTime_constraint\n"
    write(folder, "tcmb.tsv", tcmb + "1\t1\tend\t2\tstart\t0\n\t\t\t\t\t\n")
    problem = read(folder, "slab", 3)
    assert [step.id for step in problem.steps()] == ["0", "1", "2", "3", "4", "5"]
    plan = make_plan(problem, objective="makespan")
    assert check(problem, plan) == []
    # Two analysers, so the third sample leaves the arm when the first analyser is free, at 7.
    assert plan.makespan == 12


def test_octolab_json(tmp_path):
    problem = kitchen_sink()
    assert read(write(tmp_path, "p.json", dump_problem(problem))) == problem


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("jsp", "2 2\n0 3 1 2\n"),
        ("jsp", "hello"),
        ("fjsp", "1 2\n2 2 0 5\n"),
        ("psplib", "no sections"),
        ("rcpsp_max", "5 2 0 0\n"),
        ("octolab", "[]"),
        ("nonsense", ""),
    ],
)
def test_a_broken_file_is_a_named_error(tmp_path, form, text):
    with pytest.raises(FormatError):
        read(write(tmp_path, "bad", text), form)
