"""A good first arrangement of a shop: dispatching by a rule that is itself searched for.

The schedule is built as Giffler and Thompson (1960) do: of all steps that are ready, the one that would end
first decides for a device; those that want it too and could start before a part of that time compete. Who
wins follows a weighted sum of features, and the weights are improved by chance: one rule suits no two shops.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from scheduler.planning.shop import FAR, Arrangement, Shop

FEATURES = 5
SPREAD = 0.35
FIRST_RULES: tuple[tuple[float, ...], ...] = (
    (0.2, -1.0, 0.0, 0.0, 0.0, 0.0),
    (0.2, 1.0, 0.0, 0.0, 0.0, 0.0),
    (0.2, 0.0, 1.0, 0.0, 0.0, 0.0),
    (0.2, 0.0, 0.0, 0.0, 1.0, 0.0),
    (0.5, -1.0, 0.0, 0.5, 0.0, 0.0),
    (0.5, 0.0, 0.0, 1.0, 0.0, 0.0),
)
"""Delay, then weights of: work that follows, duration, earliest start, chain's place in the file, chance."""


@dataclass(slots=True)
class _Sheet:
    """What dispatching looks up of a shop, by step."""

    before: list[int]
    after: list[list[tuple[int, int]]]
    tail: list[int]
    chain: list[int]


def _sheet(shop: Shop) -> _Sheet | None:
    """Return the precedences of a shop; None if it has rules that dispatching by time cannot keep."""
    if shop.capacities or shop.holds or any(rule.max is not None for rule in shop.rules):
        return None
    count = len(shop.names)
    before = [0] * count
    after: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for rule in shop.rules:
        if not rule.first_end or rule.second_end or rule.min is None or rule.min < 0:
            return None
        after[rule.first].append((rule.second, rule.min))
        before[rule.second] += 1
    shortest = [min(option.duration for option in options) for options in shop.options]
    missing, order = before[:], [i for i in range(count) if not before[i]]
    chain = list(range(count))
    for i in order:
        for other, _ in after[i]:
            chain[other] = chain[i]
            missing[other] -= 1
            if not missing[other]:
                order.append(other)
    if len(order) < count:
        return None
    tail = shortest[:]
    for i in reversed(order):
        tail[i] += max((gap + tail[other] for other, gap in after[i]), default=0)
    return _Sheet(before, after, tail, chain)


def dispatch(shop: Shop, seed: int, over: Callable[[], bool]) -> Arrangement | None:
    """Return the shortest arrangement found until `over`; None if the shop cannot be dispatched."""
    sheet = _sheet(shop)
    if sheet is None:
        return None
    rng = random.Random(seed)
    best, best_last, best_rule = None, FAR, FIRST_RULES[0]
    turn = 0
    while best is None or not over():
        if turn < len(FIRST_RULES):
            rule: tuple[float, ...] = FIRST_RULES[turn]
        else:
            rule = tuple(weight + rng.gauss(0, SPREAD) for weight in best_rule)
        turn += 1
        found = _build(shop, sheet, rule, rng)
        last = shop.makespan(found)
        if last <= best_last:
            best, best_last, best_rule = found, last, rule
    return best


def _build(shop: Shop, sheet: _Sheet, rule: tuple[float, ...], rng: random.Random) -> Arrangement:
    delay = min(1.0, max(0.0, rule[0]))
    count = len(shop.names)
    most_tail, most_time = max(sheet.tail), max(o.duration for options in shop.options for o in options) or 1
    luck = [rng.random() for _ in range(count)]
    static = [
        rule[1] * sheet.tail[i] / most_tail
        + rule[2] * shop.options[i][0].duration / most_time
        + rule[4] * sheet.chain[i] / count
        + rule[5] * luck[sheet.chain[i]]
        for i in range(count)
    ]
    urgency = rule[3] / most_time
    head, left = shop.release[:], sheet.before[:]
    free = [0] * shop.devices
    starts, modes = [0] * count, [0] * count
    ready = {i: _soonest(shop, i, head[i], free) for i in range(count) if not left[i]}
    while ready:
        first = min(ready, key=lambda i: (ready[i][1], i))
        start, end, mode = ready[first]
        devices = set(shop.options[first][mode].devices)
        limit = start + delay * (end - start)
        chosen, score = first, static[first] + urgency * start
        for i, (begin, _, option) in ready.items():
            if begin <= limit and not devices.isdisjoint(shop.options[i][option].devices):
                value = static[i] + urgency * begin
                if value < score:
                    chosen, score = i, value
        starts[chosen], end, modes[chosen] = ready.pop(chosen)
        taken = shop.options[chosen][modes[chosen]].devices
        for device in taken:
            free[device] = end
        touched = set(taken)
        for i in ready:
            if not touched.isdisjoint(shop.options[i][ready[i][2]].devices):
                ready[i] = _soonest(shop, i, head[i], free)
        for other, gap in sheet.after[chosen]:
            head[other] = max(head[other], end + gap)
            left[other] -= 1
            if not left[other]:
                ready[other] = _soonest(shop, other, head[other], free)
    return Arrangement(starts, modes)


def _soonest(shop: Shop, step: int, head: int, free: list[int]) -> tuple[int, int, int]:
    """Return start, end and mode of the step if it were next on its devices."""
    best = (FAR, FAR, 0)
    for mode, option in enumerate(shop.options[step]):
        start = head
        for device in option.devices:
            if free[device] > start:
                start = free[device]
        if start + option.duration < best[1]:
            best = (start, start + option.duration, mode)
    return best
