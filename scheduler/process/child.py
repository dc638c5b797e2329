"""The planner child process: reads problems from its input, writes better plans to its output, one JSON line each.

It knows no Django and no database, runs niced, and ends with its parent. Solvers are loaded here alone.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any

NICENESS = 15


def main() -> None:
    """Answer problems until the input ends."""
    os.nice(NICENESS)
    # Whatever a solver prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    problems: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(problems,), daemon=True).start()
    while True:
        answers.write(json.dumps(answer(json.loads(problems.get()))) + "\n")


def _read(problems: queue.Queue[str]) -> None:
    for line in sys.stdin:
        problems.put(line)
    # The parent is gone: so is the one who asked for what is being solved.
    os._exit(0)


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Improve a plan; return the starts of the best one found, or why there is none."""
    from scheduler.planning.codec import from_data
    from scheduler.planning.limits import Limits
    from scheduler.planning.plan import Plan
    from scheduler.planning.policies import make_plan
    from scheduler.planning.problem import Problem

    try:
        problem: Problem = from_data(Problem, question["problem"])
        incumbent: Plan = from_data(Plan, question["plan"])
        plan = make_plan(
            problem,
            question["policy"],
            incumbent=incumbent,
            limits=Limits(wall=float(question["wall_s"])),
            seed=int(question["seed"]),
        )
    except Exception as error:
        return {"number": question.get("number"), "error": repr(error)[:500]}
    return {"number": question["number"], "starts": dict(plan.starts), "objective": list(plan.objective)}


if __name__ == "__main__":
    main()
