"""A planner child process: reads questions from its input, writes answers to its output, one JSON line each.

It knows no Django and no database, runs niced, and ends with its parent. Solvers are loaded here alone.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import sys
import threading
from typing import Any

NICENESS = 15
GARBAGE = 100_000
"""New objects after which the collector looks at them: a plan is hundreds of thousands, and most of them stay."""


def main() -> None:
    """Answer questions until the input ends."""
    gc.set_threshold(GARBAGE, 20, 50)
    os.nice(int(sys.argv[2]) if len(sys.argv) > 2 else NICENESS)
    # Whatever a solver prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    questions: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(questions,), daemon=True).start()
    child = Child()
    while True:
        answers.write(json.dumps(child.answer(json.loads(questions.get()))) + "\n")


def _read(questions: queue.Queue[str]) -> None:
    for line in sys.stdin:
        questions.put(line)
    # The parent is gone: so is the one who asked for what is being solved.
    os._exit(0)


class Child:
    """Answers questions about the plan as it knows it."""

    def __init__(self) -> None:
        self._picture: Any = None

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, or why there is none."""
        from scheduler.process import advice
        from scheduler.process.picture import Picture

        named: dict[str, Any] = {name: question[name] for name in ("id", "number", "last") if name in question}
        try:
            self._picture = self._picture or Picture()
            if "picture" in question:
                self._picture.change(question["picture"])
            asked = {
                "improve": advice.improve,
                "judge": advice.judge,
                "why": advice.why,
                "what_if": advice.what,
                "feasible": advice.feasible,
            }
            return {**named, **asked[question.get("ask", "improve")](self._picture, question)}
        except Exception as error:
            return {**named, "error": repr(error)[:500]}


if __name__ == "__main__":
    main()
