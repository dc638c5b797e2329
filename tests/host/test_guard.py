"""Who may hold and move a device: never two at once, whatever comes in whatever order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from modules.contract.messages import Latch
from modules.host.guard import Guard
from modules.host.interruptions import CommandRefused

DEVICES = ["arm", "pump", "lamp"]
masks = st.dictionaries(st.sampled_from(DEVICES), st.sampled_from(["use", "still"]), min_size=1)


class Holder:
    """An attempt that lets every command pass."""

    def __init__(self, attempt_id: str) -> None:
        self.attempt_id = attempt_id

    def before_query(self, device: str) -> None:
        pass

    def before_motion(self, device: str, data: bytes) -> None:
        pass


class Devices(RuleBasedStateMachine):
    """Attempts take and release devices; a plain model says what should be."""

    def __init__(self) -> None:
        super().__init__()
        self.guard = Guard({device: frozenset({"module"}) for device in DEVICES})
        self.held: dict[Holder, dict[str, str]] = {}
        self.count = 0

    @rule(mask=masks)
    def reserve(self, mask: dict[str, str]) -> None:
        self.count += 1
        holder = Holder(f"step/{self.count}")
        free = all(
            not (device in other and "use" in (mode, other[device]))
            for other in self.held.values()
            for device, mode in mask.items()
        )
        assert self.guard.reserve(holder, mask) is free  # type: ignore[arg-type]
        if free:
            self.held[holder] = mask

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.held:
            holder = data.draw(st.sampled_from(list(self.held)))
            self.guard.release(holder, self.held.pop(holder))

    @invariant()
    def only_a_user_moves_a_device(self) -> None:
        for device in DEVICES:
            users = [holder for holder, mask in self.held.items() if mask.get(device) == "use"]
            assert len(users) <= 1
            assert self.guard.user(device) == (users[0].attempt_id if users else "")
            assert self.guard.held(device) is any(device in mask for mask in self.held.values())
            self.guard.before_command(device, b"?", False)
            if users:
                self.guard.before_command(device, b"GO", True)
            else:
                with pytest.raises(CommandRefused, match="was not sent"):
                    self.guard.before_command(device, b"GO", True)


TestDevices = Devices.TestCase


def latch(tripped: bool, serial: int, scope: str) -> Latch:
    return Latch(scope=scope, tripped=tripped, serial=serial, actor="grace", at=datetime.now(UTC))


@pytest.mark.parametrize("scope", ["lab", "synthesis", "spectroscopy"])
def test_a_trip_covers_the_devices_of_its_scope_and_an_old_message_changes_nothing(scope: str) -> None:
    scopes = {"arm": frozenset({"synthesis", "spectroscopy"}), "pump": frozenset({"synthesis"})}
    guard = Guard(scopes)
    holder = Holder("step/1")
    assert guard.reserve(holder, {"arm": "use", "pump": "use"})
    assert guard.set_latch(latch(True, 3, scope))
    covered = set(guard.devices_in(scope))
    assert covered == ({"arm", "pump"} if scope != "spectroscopy" else {"arm"})
    assert not guard.set_latch(latch(False, 2, scope))
    for device in scopes:
        guard.before_command(device, b"?", False)
        if device in covered:
            with pytest.raises(CommandRefused, match="emergency stop"):
                guard.before_command(device, b"GO", True)
        else:
            guard.before_command(device, b"GO", True)
    assert guard.set_latch(latch(False, 4, scope))
    guard.before_command("arm", b"GO", True)
