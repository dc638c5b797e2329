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
    "text",
    [
        "2 2\r\n0 3 1 2\r\n1 2 0 1\r\n",
        "\ufeff# a shop\n2 2 # jobs, machines\n\n 0 3\t1 2\n1 2 0 1.0\n\n",
        "2 2\n0 3\n1 2\n1 2 0\n1\n",
        "2 2\n1 3 2 2\n2 2 1 1\n",
    ],
)
def test_line_ends_comments_wrapped_lines_and_machines_from_one_are_read_alike(tmp_path, text):
    plain = read(write(tmp_path, "a.txt", "2 2\n0 3 1 2\n1 2 0 1\n"), "jsp")
    (tmp_path / "b.txt").write_bytes(text.encode())
    assert read(tmp_path / "b.txt", "jsp").jobs == plain.jobs


def test_psplib_with_several_modes(tmp_path):
    text = SM.replace("   2        1          1", "   2        2          1").replace(
        "  2      1     3       2    0\n", "  2      1     3       2    0\n         2     5       1    0\n"
    )
    problem = read(write(tmp_path, "a.mm", text.replace("\n", "\r\n")), "psplib")
    assert [len(step.modes) for step in problem.steps()] == [1, 2, 1, 1]
    # In its slow mode the second activity leaves a unit for the third.
    assert make_plan(problem, objective="makespan").makespan == 5


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        ("jsp", "2 2\n0 3 1 2\n", "2 jobs are announced, 1 lines follow"),
        ("jsp", "2 2\n0 3 1 2\n1 2 0 1\n0 1 1 1\n", "2 jobs are announced, 3 lines follow"),
        ("jsp", "hello", "the numbers of jobs and machines expected"),
        ("jsp", "", "the file is empty"),
        ("jsp", "1 2\n0 3 1\n", "line 2 ends where the duration on machine 1 is expected"),
        ("jsp", "1 2\n0 inf 1 2\n", "line 2: 'inf' is not a whole number"),
        ("jsp", "1 2\n0 2.5 1 2\n", "line 2: '2.5' is not a whole number"),
        ("jsp", "1 2\n0 99999999999999999999 1 2\n", "too large"),
        ("jsp", "1 2\n0 5 7 2\n", "machine 7 does not exist"),
        ("jsp", "999999999999 0\n", "too many"),
        ("jsp", "1 1\n0 \0\n", "not a text file"),
        ("fjsp", "1 2\n2 2 0 5\n", "line 2 ends where a machine is expected"),
        ("fjsp", "1 2\n1 1 0 5 9\n", "1 numbers more than 1 jobs need"),
        ("fjsp", "1 2\n1 0\n", "operation 1 has 0 alternatives"),
        ("psplib", "no sections", "section PRECEDENCE RELATIONS is missing"),
        (
            "psplib",
            SM.replace("N\n", "N\n").replace(":  0   N", ":  2   N"),
            "nonrenewable resources are not supported",
        ),
        ("psplib", SM.replace("  3      1     4       1    1\n", ""), "activity 3 has no requests and durations"),
        ("psplib", SM.replace("4       1    1", "4       1    1  7"), "2 requests expected, 6 numbers found"),
        ("psplib", SM.replace("2           2   3", "3           2   3"), "3 successors announced, 2 found"),
        ("psplib", SM.replace("  - renewable ", "  - none "), "how many renewable resources"),
        ("rcpsp_max", "5 2 0 0\n", "7 activities are announced, but the file ends on line 1"),
        ("rcpsp_max", SCH.replace("[2] [3]", "[2]"), "2 successors announced, 1 lags in brackets found"),
        ("rcpsp_max", SCH.replace("1 1 2 2 3", "1 3 2 2 3"), "3 modes; only one is supported"),
        ("octolab", "[]", "expected an object"),
        ("octolab", "[" * 100_000, "nested too deeply"),
        ("octolab", '{"jobs": [], "now": 99999999999999999999}', "now: 99999999999999999999 is too large"),
        ("nonsense", "", "no format is called 'nonsense'"),
    ],
)
def test_a_broken_file_is_a_named_error_that_says_where(tmp_path, form, text, said):
    with pytest.raises(FormatError) as caught:
        read(write(tmp_path, "bad", text), form)
    assert said in str(caught.value)


def test_a_broken_table_of_a_laboratory_says_where(tmp_path):
    tables = {
        "machines.tsv": "Machine_ID\tMachine_type\tMachine_name\n1\t1\tarm\n",
        "operations.tsv": "Job_ID\tOperation_ID\tCompatible_machine\tProcessing_time\n1\t1\t1\t2\n",
        "dependency.tsv": "Job_ID\tOperation_ID_1\tOperation_ID_2\n",
        "tcmb.tsv": "Job_ID\tOperation_ID_1\tPoint_1\tOperation_ID_2\tPoint_2\tTime_constraint\n",
    }
    for name, rows, said in (
        ("operations.tsv", "1\t2\t9\t2\n", "operations.tsv, line 3: there is no machine of type 9"),
        ("operations.tsv", "1\t2\t1\tlong\n", "operations.tsv, line 3: 'long' is not a whole number"),
        ("dependency.tsv", "1\t1\t5\n", "dependency.tsv, line 2: job 1 has no operation 5"),
        ("tcmb.tsv", "1\t1\tmiddle\t1\tend\t5\n", "Point_1 is 'middle', neither start nor end"),
    ):
        for table, text in tables.items():
            write(tmp_path, table, text + rows if table == name else text)
        with pytest.raises(FormatError) as caught:
            read(tmp_path, "slab")
        assert said in str(caught.value)
