"""What can go wrong between a driver and its instrument.

Every error names the device and the last command, and says what a person can do next.
"""

from __future__ import annotations


class DeviceError(Exception):
    """An instrument could not be talked to, or could not do what it was told.

    Parameters
    ----------
    device : str
        Id of the device in the lab.
    problem : str
        What happened, as the end of a sentence that begins with the device's name.
    command : str, optional
        The last command that was written, in readable form.
    advice : str, optional
        What to do next; each class has a sensible default.
    uncertain : bool, optional
        True when a command that moves hardware was written and nobody knows whether it was carried out. Such
        a command must never be repeated without a person having looked.
    """

    advice = "Look at the instrument's display and at the wire log before you go on."

    def __init__(
        self, device: str, problem: str, *, command: str = "", advice: str = "", uncertain: bool = False
    ) -> None:
        self.device = device
        self.problem = problem
        self.command = command
        self.uncertain = uncertain
        self.advice = advice or type(self).advice
        last = f" (last command: {command})" if command else ""
        unsure = " The command may have been carried out: look before you repeat it." if uncertain else ""
        super().__init__(f"{device}: {problem}{last}.{unsure} {self.advice}")


class LinkLost(DeviceError):  # noqa: N818 - reads as what happened
    """The port cannot be opened, or vanished while it was in use."""

    advice = "Check that the instrument is powered and its cable plugged in; the next command connects again."


class Timeout(DeviceError):  # noqa: N818
    """No answer, or a motion that did not end in time."""

    advice = "Check that the instrument is powered, not waiting at its own panel, and that the address is right."


class BadReply(DeviceError):  # noqa: N818
    """An answer that does not follow the instrument's protocol."""

    advice = "Check baud rate, parity and grounding of the cable, and that this is the instrument it should be."


class Refused(DeviceError):  # noqa: N818
    """The instrument understood the command and answered that it will not or cannot do it.

    Attributes
    ----------
    code : str
        The instrument's own error code, e.g. ``"7"`` or ``"not_homed"``.
    """

    advice = "Remove the cause the instrument names, then home or initialise it if it asks for that."

    def __init__(self, device: str, problem: str, *, code: str = "", command: str = "", advice: str = "") -> None:
        self.code = code
        super().__init__(device, problem, command=command, advice=advice)


class Stopped(DeviceError):  # noqa: N818
    """The device was brought to its safe state while this call was under way."""

    advice = "Find out why it was stopped; check what it holds and where it stands before you start it again."
