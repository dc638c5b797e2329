"""A planner child process as its parent sees it: questions go in, answers come out, and nothing is lost if it dies.

What is asked is turned into text in a thread, so that a large plan does not hold up the loop.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scheduler.process.picture import Painter

Question = Mapping[str, Any]
"""Plain data, or dataclasses of the planner as its values."""
_END: Question = {}


class Spawned:
    """A child that is started when it is first needed.

    Parameters
    ----------
    purpose
        For whoever looks at the list of processes.
    niceness
        How little of the processor it claims.
    on_answer
        Called from another thread when the child has answered.
    """

    def __init__(self, purpose: str, niceness: int, on_answer: Callable[[], None]) -> None:
        self._purpose, self._niceness, self._on_answer = purpose, niceness, on_answer
        self._child: subprocess.Popen[str] | None = None
        self._questions: queue.Queue[Question] = queue.Queue()
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()

    @property
    def pid(self) -> int | None:
        """Process id of the child, if it runs."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def ask(self, *questions: Question) -> None:
        """Put questions, which are answered one after the other."""
        if self.pid is None:
            self._start()
        for question in questions:
            self._questions.put(question)

    def answers(self) -> list[dict[str, Any]]:
        """Return what the child has said since the last call."""
        found = []
        while not self._answers.empty():
            found.append(self._answers.get_nowait())
        return found

    def stop(self) -> None:
        """End the child at once; it holds nothing that is not held here."""
        child, self._child = self._child, None
        self._answers = queue.Queue()
        if child is not None:
            self._questions.put(_END)
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def _start(self) -> None:
        self.stop()
        self._questions = queue.Queue()
        self._child = child = _spawn(self._purpose, self._niceness)
        for target, argument in ((self._talk, self._questions), (self._listen, self._answers)):
            threading.Thread(target=target, args=(child, argument), name=self._purpose, daemon=True).start()

    def _talk(self, child: subprocess.Popen[str], questions: queue.Queue[Question]) -> None:
        painter = Painter()
        # The pipe may be full while the child still thinks; the loop does not wait for that.
        while question := questions.get():
            try:
                if child.stdin is not None:
                    child.stdin.write(json.dumps(painter(question)) + "\n")
                    child.stdin.flush()
            except (OSError, ValueError):
                return

    def _listen(self, child: subprocess.Popen[str], answers: queue.Queue[dict[str, Any]]) -> None:
        if child.stdout is None:
            return
        try:
            for line in child.stdout:
                answers.put(json.loads(line))
                self._on_answer()
        except ValueError:
            # Closed by `stop` while reading.
            return


def _spawn(purpose: str, niceness: int) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    # It needs no secret of ours.
    kept = ("PATH", "LANG", "LC_ALL", "HOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "scheduler.process.child", purpose, str(niceness)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
