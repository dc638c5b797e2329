"""Checking the chain: a row that was changed, added or removed is noticed."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from .models import BEGINNING, AuditEntry, AuditHead


@dataclass(frozen=True)
class Broken:
    """Where the chain does not hold, and why."""

    seq: int
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What a check has found.

    Attributes
    ----------
    entries
        How many entries were read.
    hash
        The last entry's hash. Keep it elsewhere: who can rewrite the whole table cannot make it come out again.
    """

    entries: int
    hash: str
    broken: tuple[Broken, ...]


def verify(*expected: str) -> Verdict:
    """Read the whole log and check each link.

    Parameters
    ----------
    *expected
        Hashes that earlier checks have shown: entries with them must still be there.
    """
    broken: list[Broken] = []
    seq, previous, count, missing = 0, BEGINNING, 0, set(expected)
    # One transaction that writes nothing but locks the head, so that nobody adds an entry in the middle of the check.
    with transaction.atomic():
        head = AuditHead.objects.select_for_update().filter(pk=1).first()
        for entry in AuditEntry.objects.order_by("seq").iterator(chunk_size=2000):
            count += 1
            if entry.seq != seq + 1:
                broken.append(Broken(entry.seq, f"{entry.seq - seq - 1} entries before this one are missing"))
            elif entry.previous != previous:
                broken.append(Broken(entry.seq, "it does not follow from the entry before it"))
            if entry.digest() != entry.hash:
                broken.append(Broken(entry.seq, "it was changed"))
            seq, previous = entry.seq, entry.hash
            missing.discard(entry.hash)
    if head is None:
        if count:
            broken.append(Broken(seq, "the end of the chain is not known: its head is missing"))
    elif (head.seq, head.hash) != (seq, previous):
        broken.append(Broken(seq, f"the chain should end at entry {head.seq}: its end was cut off or changed"))
    broken += [
        Broken(
            seq, f"no entry has the hash {hash_}, which an earlier check has seen: the log was written anew or cut off"
        )
        for hash_ in sorted(missing - {BEGINNING})
    ]
    return Verdict(count, previous, tuple(broken))
