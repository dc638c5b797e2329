"""What the lab has, as the scheduler knows it: devices with what is wrong with them, and places with who holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from scheduler.states import DeviceState

if TYPE_CHECKING:
    from scheduler.process.live import LiveJob, LiveSample, Unit


@dataclass(slots=True, eq=False)
class LiveDevice:
    """A device: what the scheduler decided, and what its host says."""

    id: str
    host: str
    title: str = ""
    modules: list[str] = field(default_factory=list)
    state: str = DeviceState.OFFLINE
    stored: str = DeviceState.OFFLINE
    reason: str = ""
    attempt_id: str = ""
    """The attempt that left it unknown."""
    since_at: datetime | None = None
    quarantine: str = ""
    """Why nobody may use it until an operator has looked at it."""
    host_says: str = DeviceState.OFFLINE
    estop: str = ""
    """What emergency stop covers it."""
    interlock: str = ""
    """Which tripped interlock covers it."""
    lock: str = ""
    """What maintenance lock covers it, and who holds that: the user's id."""
    lock_holder: str = ""
    person: bool = False
    """Whether it is a person, of whom no host says anything."""
    holders: dict[str, Unit] = field(default_factory=dict)
    """Units that occupy it now, by id."""

    @property
    def usable(self) -> bool:
        """Whether anybody's steps may be granted on it, occupied or not."""
        return self.sound and not self.quarantine and not self.lock

    @property
    def sound(self) -> bool:
        """Whether the device itself can be used, whoever may."""
        if self.attempt_id or self.estop or self.interlock:
            return False
        return self.host_says in (DeviceState.IDLE, DeviceState.BUSY)

    @property
    def at_rest(self) -> tuple[DeviceState, str]:
        """The state, with its reason, of a sound device that nobody uses."""
        if self.quarantine:
            return DeviceState.ERROR, self.quarantine
        return (DeviceState.MAINTENANCE, self.lock) if self.lock else (DeviceState.IDLE, "")

    def usable_for(self, job: LiveJob) -> bool:
        """Tell whether steps of this job may be granted on it."""
        return self.usable or (job.manual and self.sound and self.lock_holder in ("", job.owner_id))


class Places:
    """Places of all resources, and who holds them."""

    def __init__(self) -> None:
        self.held: dict[str, dict[int, str | None]] = {}
        """Resource → number → id of the sample that holds it."""
        self.free: dict[str, int] = {}
        self.storage: dict[str, bool] = {}

    def add(self, resource: str, index: int, sample: str | None = None) -> None:
        """Make a place known."""
        self.held.setdefault(resource, {})[index] = sample
        self.free[resource] = self.free.get(resource, 0) + (sample is None)

    def take(self, resource: str, sample: LiveSample) -> int:
        """Give the sample the free place of the lowest number."""
        numbers = self.held[resource]
        index = next(i for i in sorted(numbers) if numbers[i] is None)
        numbers[index] = sample.id
        self.free[resource] -= 1
        sample.places[resource] = index
        return index

    def move_to(self, resource: str, index: int, sample: LiveSample) -> None:
        """Note that a place is the sample's, whoever had it before."""
        numbers = self.held.setdefault(resource, {})
        if numbers.get(index) is None:
            self.free[resource] = self.free.get(resource, 0) - (index in numbers)
        numbers[index] = sample.id
        sample.places[resource] = index

    def give_back(self, resource: str, sample: LiveSample) -> int | None:
        """Free the sample's place; return its number, or None if it held none."""
        index = sample.places.pop(resource, None)
        if index is not None:
            self.held[resource][index] = None
            self.free[resource] += 1
        return index

    def is_storage(self, resource: str) -> bool:
        """Whether samples may stay there after their job."""
        return self.storage.get(resource, False)
