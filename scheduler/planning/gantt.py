"""Draw a plan, as SVG for a page and as text for a terminal: a row for each device, a colour for each job."""

from __future__ import annotations

import zlib
from html import escape

from scheduler.planning.plan import Plan, say_duration
from scheduler.planning.problem import Device, Job, Mode, Problem, Step, Task, Use

ROW, LEFT, TOP = 22, 110, 28


def rows(problem: Problem, plan: Plan) -> dict[str, list[tuple[int, int, str, str]]]:
    """Return what each device does: (start, end, step, job) in ticks, in order of start.

    Devices without work are left out; steps without a device are standby and stand in no row.
    """
    table: dict[str, list[tuple[int, int, str, str]]] = {device.id: [] for device in problem.devices}
    for job in problem.jobs:
        for step in job.steps():
            if step.id not in plan.starts:
                continue
            mode = step.modes[plan.modes.get(step.id, 0)]
            names = [use.device for use in mode.uses]
            if not problem.devices:
                names = [demand.resource for demand in mode.demands]
            for name in names:
                row = (plan.starts[step.id], plan.ends[step.id], step.id, job.id)
                table.setdefault(name, []).append(row)
    return {name: sorted(work) for name, work in table.items() if work}


def stand_in(plan: Plan) -> Problem:
    """Return a problem with a device for each step, to draw a plan whose problem is not at hand."""
    jobs, devices = [], []
    for step, start in sorted(plan.starts.items(), key=lambda item: item[1]):
        mode = Mode(plan.ends[step] - start, (Use(step),))
        modes = (mode,) * (plan.modes.get(step, 0) + 1)
        jobs.append(Job(step, (Task(step, (Step(step, modes),)),)))
        devices.append(Device(step))
    return Problem(tuple(jobs), tuple(devices))


def colour(job: str) -> str:
    """Return a stable colour for a job, as a CSS value."""
    hue = zlib.crc32(job.encode()) % 360
    return f"hsl({hue} 55% 62%)"


def svg(problem: Problem, plan: Plan, width: int = 1100) -> str:
    """Return the plan as a stand-alone SVG image of the given width in pixels."""
    table = rows(problem, plan)
    last = max(plan.makespan, 1)
    scale = (width - LEFT - 10) / last
    height = TOP + ROW * len(table) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        f' font-size="11" role="img" aria-label="Plan {escape(problem.name)}">'
    ]
    for n in range(11):
        x, time = LEFT + (width - LEFT - 10) * n / 10, last * n // 10
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - 10}" stroke="#ddd"/>')
        label = escape(say_duration(time, problem.tick))
        parts.append(f'<text x="{x:.1f}" y="{TOP - 8}" text-anchor="middle" fill="#555">{label}</text>')
    for n, (name, work) in enumerate(table.items()):
        y = TOP + n * ROW
        parts.append(f'<text x="{LEFT - 6}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        for start, end, step, job in work:
            x, length = LEFT + start * scale, max((end - start) * scale, 0.5)
            span = f"{say_duration(start, problem.tick)} to {say_duration(end, problem.tick)}"
            parts.append(
                f'<rect x="{x:.2f}" y="{y + 3}" width="{length:.2f}" height="{ROW - 6}" fill="{colour(job)}">'
                f"<title>{escape(f'{step} ({job}), {span}')}</title></rect>"
            )
    parts.append("</svg>")
    return "\n".join(parts)


def text(problem: Problem, plan: Plan, width: int = 100) -> str:
    """Return the plan as lines of text: a letter for each job, ``.`` where a device is free."""
    table = rows(problem, plan)
    last = max(plan.makespan, 1)
    label = max((len(name) for name in table), default=0)
    cells = max(10, width - label - 2)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    letter = {job.id: letters[n % len(letters)] for n, job in enumerate(problem.jobs)}
    lines = []
    for name, work in table.items():
        line = ["."] * cells
        for start, end, _, job in work:
            first = start * cells // last
            for at in range(max(0, first), min(cells, max(first + 1, -(-end * cells // last)))):
                line[at] = letter[job]
        lines.append(f"{name:>{label}}  {''.join(line)}")
    lines.append(f"{'':>{label}}  0{say_duration(last, problem.tick):>{cells - 1}}")
    return "\n".join(lines)
