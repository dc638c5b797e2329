"""Plans use the devices as they are."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky import plan_stubs as bps
from bluesky import plans as bp
from bluesky.protocols import Configurable, Locatable, Movable, Readable, Stageable, Status, Triggerable
from event_model import DocumentNames, schema_validators

from modules.drivers import protocols
from modules.drivers.status import ThreadStatus
from modules.simulation.testing import Bench


@pytest.fixture
def engine() -> Any:
    made = RunEngine(context_managers=[])
    yield made
    asyncio.run_coroutine_threadsafe(made.loop.shutdown_default_executor(), made.loop).result(5)
    made.loop.call_soon_threadsafe(made.loop.stop)
    made._th.join(5)
    made.loop.close()


def test_the_protocols_are_kept(lab: Bench) -> None:
    spectrometer, axis, stirrer = (lab.device(n) for n in ("spectrometer", "linear_actuator", "stirrer"))
    for protocol in (Readable, Triggerable, Stageable, Configurable, protocols.Spectrometer):
        assert isinstance(spectrometer, protocol)
    for protocol in (Readable, Movable, Locatable, protocols.Axis):
        assert isinstance(axis, protocol)
    for protocol in (Readable, protocols.Stirrer, protocols.Heater):
        assert isinstance(stirrer, protocol)
    assert isinstance(lab.device("arm"), protocols.Arm)
    assert isinstance(lab.device("vial_storage"), protocols.Storage)
    assert isinstance(lab.device("pipette"), protocols.Pipette)
    assert isinstance(lab.device("pump_agno3"), protocols.Pump)


def test_a_plan_measures_a_spectrum(lab: Bench, engine: Any) -> None:
    spectrometer, stirrer = lab.device("spectrometer"), lab.device("stirrer")
    spectrometer.reference()
    documents: list[tuple[str, dict]] = []
    engine.subscribe(lambda name, document: documents.append((name, document)))
    engine(bp.count([spectrometer, stirrer], num=2))
    for name, document in documents:
        if name != "event":  # arrays are not JSON; the store takes them out
            schema_validators[DocumentNames[name]].validate(_plain(document))
    events = [document for name, document in documents if name == "event"]
    assert len(events) == 2
    assert np.shape(events[0]["data"]["spectrometer_absorbance"]) == (550,)
    assert events[0]["data"]["stirrer_temperature"] == 22.0


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value


def test_a_plan_moves_the_axis(lab: Bench, engine: Any) -> None:
    axis = lab.device("linear_actuator")
    axis.home()
    engine(bps.mv(axis, 85.0))
    assert axis.locate() == {"setpoint": 85.0, "readback": 85.0}
    engine(bps.mv(axis, "stirrer.5"))
    assert axis.position() == (135.0, 0.0)


def test_a_status_hands_on_what_went_wrong() -> None:
    def fail() -> None:
        raise ValueError("broken")

    status = ThreadStatus(fail, "test")
    assert isinstance(status, Status)
    with pytest.raises(ValueError, match="broken"):
        status.wait(1)
    assert status.done
    assert not status.success
    called: list[Status] = []
    status.add_callback(called.append)
    assert called == [status]
