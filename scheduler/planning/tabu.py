"""Tabu search for job shops: thousands of small steps where the solver takes a few large ones.

The neighbourhood is that of Balas and Vazacopoulos (1998): on a critical path, a step moves behind the last or
before the first step of its block on a machine. Moves are judged by their estimate (Taillard 1994), what was
turned round stays so for a while, and a search that no longer pays returns to the best arrangement and leaves
it in another direction.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from scheduler.planning.shop import Arrangement, Shop

REACH = 10
"""How many steps at either end of a block are moved across it."""
PATIENCE = 2500
"""Turns without gain before the search returns to the best arrangement."""
KICKS = (6, 18)
"""Least and most random moves away from it."""
POLL = 32
"""Turns between two looks at the clock."""


@dataclass(slots=True)
class Move:
    """Step `first` goes behind `last`, or (`back`) `last` before `first`; both stand in one block."""

    first: int
    last: int
    back: bool
    value: int


def is_job_shop(shop: Shop) -> bool:
    """Whether every step needs one device in one way, and at most one step stands directly before and after."""
    if shop.capacities or shop.holds:
        return False
    if any(len(options) != 1 or len(options[0].devices) != 1 for options in shop.options):
        return False
    firsts, seconds = set(), set()
    for rule in shop.rules:
        plain = rule.first_end and not rule.second_end and rule.max is None and rule.min == 0
        if not plain or rule.first in firsts or rule.second in seconds:
            return False
        firsts.add(rule.first)
        seconds.add(rule.second)
    return True


class TabuSearch:
    """A search from one arrangement of a job shop.

    Parameters
    ----------
    shop
        A job shop, see `is_job_shop`.
    arrangement
        Where to start; no two steps overlap on a device.
    seed
        Of the random choices.
    """

    def __init__(self, shop: Shop, arrangement: Arrangement, seed: int) -> None:
        count = self.count = len(shop.names)
        self.rng = random.Random(seed)
        # The last entry stands for "nobody": it takes no time, and nothing comes before or after it.
        self.length = [options[0].duration for options in shop.options] + [0]
        self.release = [*shop.release, 0]
        self.job_before, self.job_after = [count] * (count + 1), [count] * (count + 1)
        for rule in shop.rules:
            self.job_after[rule.first], self.job_before[rule.second] = rule.second, rule.first
        self.device = [options[0].devices[0] for options in shop.options]
        self.tenure = 10 + count // max(1, shop.devices) // max(1, shop.devices)
        self.turns = 0
        self._load(arrangement)
        self.last = self.span
        self.best = (self.before[:], self.after[:], self.order[:])
        self.starts = self.head[:count]

    # --- the arrangement

    def _load(self, arrangement: Arrangement) -> None:
        starts, count = arrangement.starts, self.count
        self.before, self.after = [count] * (count + 1), [count] * (count + 1)
        depth = self._depth()
        self.order = sorted(range(count), key=lambda i: (starts[i], self.length[i], depth[i]))
        last: dict[int, int] = {}
        for i in self.order:
            previous = last.get(self.device[i], count)
            self.before[i] = previous
            if previous < count:
                self.after[previous] = i
            last[self.device[i]] = i
        self.head, self.tail = [0] * (count + 1), [0] * (count + 1)
        self.place = [0] * (count + 1)
        self._count(0, count)

    def _depth(self) -> list[int]:
        depth = [0] * (self.count + 1)
        for i in range(self.count):
            at = i
            while self.job_before[at] < self.count:
                at = self.job_before[at]
                depth[i] += 1
        return depth

    def _count(self, low: int, high: int) -> None:
        """Recount heads from position `low` of the order on, and tails up to position `high`."""
        head, tail, length, order = self.head, self.tail, self.length, self.order
        job_before, before, release = self.job_before, self.before, self.release
        for i in order[low:]:
            one, two = job_before[i], before[i]
            a, b = head[one] + length[one], head[two] + length[two]
            if b > a:
                a = b
            b = release[i]
            head[i] = a if a > b else b
        job_after, after = self.job_after, self.after
        for i in reversed(order[:high]):
            one, two = job_after[i], after[i]
            a, b = tail[one] + length[one], tail[two] + length[two]
            tail[i] = a if a > b else b
        place = self.place
        for at in range(low, high):
            place[order[at]] = at
        self.span = max(map(sum, zip(head, length, tail, strict=True)))

    def _apply(self, first: int, last: int, back: bool) -> bool:
        """Move a step; return False, with nothing changed, if a cycle would arise."""
        before, after, count = self.before, self.after, self.count
        low, high = self.place[first], self.place[last] + 1
        segment = self.order[low:high]
        if not back:
            late = {first}
            early, delayed = [], [first]
            follower = after[first]
            for i in segment[1:]:
                previous = before[i] if i != follower else count
                if self.job_before[i] in late or previous in late:
                    if i == last:
                        return False
                    late.add(i)
                    delayed.append(i)
                else:
                    early.append(i)
            self.order[low:high] = early + delayed
            self._unlink(first)
            following = after[last]
            before[first], after[first], after[last] = last, following, first
            if following < count:
                before[following] = first
        else:
            soon = {last}
            late_part, forward = [], [last]
            leader = before[last]
            for i in reversed(segment[:-1]):
                following = after[i] if i != leader else count
                if self.job_after[i] in soon or following in soon:
                    if i == first:
                        return False
                    soon.add(i)
                    forward.append(i)
                else:
                    late_part.append(i)
            self.order[low:high] = forward[::-1] + late_part[::-1]
            self._unlink(last)
            previous = before[first]
            after[last], before[last], before[first] = first, previous, last
            if previous < count:
                after[previous] = last
        self._count(low, high)
        return True

    def _unlink(self, i: int) -> None:
        previous, following = self.before[i], self.after[i]
        if previous < self.count:
            self.after[previous] = following
        if following < self.count:
            self.before[following] = previous

    # --- the neighbourhood

    def _blocks(self) -> list[list[int]]:
        """Return the blocks of more than one step of a random critical path."""
        head, tail, length, span = self.head, self.tail, self.length, self.span
        nobody, rng = self.count, self.rng
        ends = [i for i in self.order if tail[i] == 0 and head[i] + length[i] == span]
        at = ends[int(rng.random() * len(ends))]
        blocks, block = [], [at]
        while True:
            one, two = self.before[at], self.job_before[at]
            by_device = one < nobody and head[one] + length[one] == head[at]
            by_job = two < nobody and head[two] + length[two] == head[at]
            if by_device and (not by_job or rng.random() < 0.5):
                at = one
                block.append(at)
                continue
            if len(block) > 1:
                blocks.append(block[::-1])
            if not by_job:
                return blocks
            at = two
            block = [at]

    def _moves(self) -> list[Move]:
        moves = []
        for block in self._blocks():
            first, last, size = block[0], block[-1], len(block)
            tail_last, end_first = self.tail[last] + self.length[last], self.head[first] + self.length[first]
            for i in range(max(0, size - 1 - REACH), size - 1):
                one, after = block[i], self.job_after[block[i]]
                # Behind the last: no cycle as long as nothing after `one` in its job leads there.
                if tail_last >= self.tail[after] + self.length[after] or i == size - 2:
                    moves.append(Move(one, last, False, self._forward(block, i)))
            for i in range(1, min(size, REACH + 1)):
                one, ahead = block[i], self.job_before[block[i]]
                if size == 2:
                    break  # The same swap as above.
                if end_first >= self.head[ahead] + self.length[ahead] or i == 1:
                    moves.append(Move(first, one, True, self._backward(block, i)))
        return moves

    def _forward(self, block: list[int], i: int) -> int:
        """Estimate the span after ``block[i]`` went behind the last step of the block."""
        head, tail, length = self.head, self.tail, self.length
        one = block[i]
        part = block[i + 1 :]
        previous = self.before[one]
        free = head[previous] + length[previous]
        heads = []
        for x in part:
            ahead = self.job_before[x]
            at = head[ahead] + length[ahead]
            if free > at:
                at = free
            heads.append(at)
            free = at + length[x]
        ahead = self.job_before[one]
        at = max(free, head[ahead] + length[ahead])
        after, following = self.job_after[one], self.after[block[-1]]
        rest = max(tail[after] + length[after], tail[following] + length[following])
        value = at + length[one] + rest
        rest += length[one]
        for n in range(len(part) - 1, -1, -1):
            x = part[n]
            after = self.job_after[x]
            own = tail[after] + length[after]
            if own > rest:
                rest = own
            rest += length[x]
            if heads[n] + rest > value:
                value = heads[n] + rest
        return value

    def _backward(self, block: list[int], i: int) -> int:
        """Estimate the span after ``block[i]`` went before the first step of the block."""
        head, tail, length = self.head, self.tail, self.length
        one = block[i]
        part = block[:i]
        previous, ahead = self.before[part[0]], self.job_before[one]
        at = max(head[previous] + length[previous], head[ahead] + length[ahead])
        heads = []
        free = at + length[one]
        for x in part:
            ahead = self.job_before[x]
            own = head[ahead] + length[ahead]
            if own > free:
                free = own
            heads.append(free)
            free += length[x]
        following = self.after[one]
        rest = tail[following] + length[following]
        value = 0
        for n in range(len(part) - 1, -1, -1):
            x = part[n]
            after = self.job_after[x]
            own = tail[after] + length[after]
            if own > rest:
                rest = own
            rest += length[x]
            if heads[n] + rest > value:
                value = heads[n] + rest
        after = self.job_after[one]
        rest = max(rest, tail[after] + length[after]) + length[one]
        return max(value, at + rest)

    # --- the search

    def run(self, over: Callable[[], bool], better: Callable[[], None], bound: int = 0) -> None:
        """Search until `over` says so or the bound is reached; `better` is called after each gain."""
        idle = 0
        tabu: dict[int, int] = {}
        while self.last > bound:
            self.turns += 1
            if self.turns % POLL == 0 and over():
                return
            moves = self._moves()
            if not moves:
                return  # The critical path is a single job, or stays on one machine alone: it is optimal.
            if not self._step(moves, tabu):
                idle = PATIENCE
            idle += 1
            if self.span < self.last:
                self.last, idle = self.span, 0
                self.best = (self.before[:], self.after[:], self.order[:])
                self.starts = self.head[: self.count]
                better()
            elif idle >= PATIENCE:
                idle = 0
                tabu.clear()
                self._kick()

    def _step(self, moves: list[Move], tabu: dict[int, int]) -> bool:
        """Make the best move that is not tabu, or a random one; return whether there was any."""
        self.rng.shuffle(moves)
        moves.sort(key=lambda move: move.value)
        allowed = [move for move in moves if move.value < self.last or not self._is_tabu(move, tabu)]
        if not allowed:
            allowed = [self.rng.choice(moves)]
        for move in (*allowed, *moves):
            passed = self._passed(move)
            if self._apply(move.first, move.last, move.back):
                self._forbid(move, passed, tabu)
                return True
        return False

    def _passed(self, move: Move) -> list[int]:
        """Return the steps that a move passes."""
        passed, at = [], move.first
        while at != move.last:
            passed.append(at)
            at = self.after[at]
        return passed if move.back else [*passed[1:], move.last]

    def _is_tabu(self, move: Move, tabu: dict[int, int]) -> bool:
        count, turns = self.count, self.turns
        for other in self._passed(move):
            # The pair as it would be after the move.
            key = move.last * count + other if move.back else other * count + move.first
            if tabu.get(key, 0) > turns:
                return True
        return False

    def _forbid(self, move: Move, passed: list[int], tabu: dict[int, int]) -> None:
        until = self.turns + self.tenure + int(self.rng.random() * (2 + self.tenure // 2))
        for other in passed:
            # The pair as it was before the move.
            tabu[other * self.count + move.last if move.back else move.first * self.count + other] = until

    def _kick(self) -> None:
        """Go back to the best arrangement, and some random moves away from it."""
        before, after, order = self.best
        self.before, self.after, self.order = before[:], after[:], order[:]
        self._count(0, self.count)
        for _ in range(self.rng.randint(*KICKS)):
            moves = self._moves()
            if not moves:
                return
            move = self.rng.choice(moves)
            self._apply(move.first, move.last, move.back)

    def found(self) -> Arrangement:
        """Return the best arrangement."""
        return Arrangement(self.starts[:], [0] * self.count)
