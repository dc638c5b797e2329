"""What an instrument person reads who has made a mistake: file, line, what is wrong, and what would be right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modules.contract.lab import LabFileError, load
from modules.host.check import mistakes
from tests.stack.processes import ROOT

LAB = """\
name = "Mistakes"

[clock]
scale = 10

[modules.oven]
package = "bad_oven"
devices = { plate = "plate" }
stocks = { argon = "argon" }

[[devices]]
id = "plate"
driver = "modules.drivers.virtual:VirtualDevice"
address = "sim://plate"
simulator = "modules.simulation.virtual:SimulatedVirtual"

[[stocks]]
id = "argon"
unit = "mL"
level = 10
"""

CLOCK = "[clock]\nscale = 10\n"

PACKAGE = """\
from octolab.sdk import Action, Consumable, Device, Manifest, Resource, Result, Step, Task

PARAMETERS = {"type": "object", "properties": {"time": {"type": "number", "unit": "s"}}}


def manifest(options):
    return Manifest(
        package="bad_oven", version="1", title="Oven",
        devices={"plate": Device()},
        resources={"slot": Resource(capacity=2)},
        consumables={"argon": Consumable(unit="mL")},
        tasks=(
            Task(
                name="bake", title="Bake", parameters=PARAMETERS,
                steps=(
                    Step(name="warm", action="warm", devices={"plate": "use"}, takes=("slot",), duration_s="time"),
                    Step(name="cool", duration_s="2 * time", frees=("slot",)),
                ),
                results=(Result(name="reached", unit="degC"),),
            ),
        ),
        actions=(Action(name="warm"),),
    )


def warm(ctx):
    ctx.record(reached=20)


ACTIONS = {"warm": warm}
"""
MODULE = "bad_oven/__init__.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the lab and its package, importable for the length of a test."""
    (tmp_path / "bad_oven").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    sys.modules.pop("bad_oven", None)
    return tmp_path


def told(folder: Path, lab: str = LAB, package: str = PACKAGE) -> list[str]:
    """Return what the check says, as the command that ``deploy/up`` runs prints it."""
    (folder / "lab.toml").write_text(lab)
    (folder / MODULE).write_text(package)
    try:
        return mistakes(load(folder / "lab.toml"))
    except LabFileError as error:
        return str(error).splitlines()
    finally:
        sys.modules.pop("bad_oven", None)


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


def assert_says(found: list[str], file: Path, text: str, part: str, *reasons: str) -> None:
    (said,) = found
    assert said.startswith(f"{file}:{line_of(text, part)}: "), said
    for reason in reasons:
        assert reason in said, said
    assert not re.search(r"pydantic|validation error|\[type=|input_value|Traceback", said), said


def test_what_the_mistakes_are_made_in_is_right(folder: Path) -> None:
    assert told(folder) == []


@pytest.mark.parametrize(
    ("right", "wrong", "reasons"),
    [
        ('scale = 10', 'scale == 10', ("not TOML",)),
        ('scale = 10', 'scale = "fast"', ("clock.scale: must be a number, not 'fast'",)),
        ('[clock]\nscale = 10', 'clock = 10', ("clock: must be a table",)),
        ('[[stocks]]', '[stocks]', ("stocks: must be a list: write [[stocks]]",)),
        ('scale = 10', 'scale = -1', ("clock.scale", "greater than 0", "not -1")),
        ('scale = 10', 'sclae = 10', ("no key 'sclae'", "did you mean 'scale'?")),
        ('package = "bad_oven"', 'package = "bad_ovn"', ("not installed", "did you mean 'bad_oven'?")),
        ('package = "bad_oven"', 'package = "modules.uvvis"', ("not installed", "did you mean 'modules.uv_vis'?")),
        ('package = "bad_oven"', 'package = "bad oven"', ("as it is imported", "not 'bad oven'")),
        ('{ plate = "plate" }', '{ plate = "plat" }', ("'plat'", "did you mean 'plate'?")),
        ('{ plate = "plate" }', '{ plat = "plate" }', ("no device 'plat'", "did you mean 'plate'?")),
        ('{ plate = "plate" }', '{ plate = 3 }', ("modules.oven.devices.plate", "not 3")),
        ('{ plate = "plate" }', '{ plate = ["plate", "plate"] }', ("stands for one device",)),
        ('stocks = { argon = "argon" }', 'stocks = { argn = "argon" }', ("no consumable 'argn'", "'argon'?")),
        ('stocks = { argon = "argon" }', 'stocks = { argon = "argo" }', ("no [[stocks]] 'argo'", "'argon'?")),
        ('stocks = { argon = "argon" }', 'resources = { slott = "slots" }', ("no resource 'slott'", "'slot'?")),
        ('stocks = { argon = "argon" }', 'hots = "host"', ("no key 'hots'", "did you mean 'host'?")),
        ('id = "plate"', 'id = "Plate"', ("lower-case", "not 'Plate'")),
        ('virtual:VirtualDevice', 'virtual.VirtualDevice', ("'package.module:Class'",)),
        ('virtual:VirtualDevice', 'virtal:VirtualDevice', ("no module", "'modules.drivers.virtual'?")),
        ('virtual:VirtualDevice', 'virtual:VirtualDevise', ("no class", "did you mean 'VirtualDevice'?")),
        ('virtual:SimulatedVirtual', 'virtual:SimulatedVirtul', ("no class", "did you mean 'SimulatedVirtual'?")),
        ('id = "argon"', 'id = "argon"\nlevl = 3', ("no key 'levl'", "did you mean 'level'?")),
        ('unit = "mL"', 'unit = "mLL"', ("stock 'argon'", "no unit 'mLL'")),
        ('level = 10', 'level = "much"', ("stocks.0.level", "number", "not 'much'")),
        (
            'driver = "modules.drivers.virtual:VirtualDevice"',
            'driver = "modules.drivers.virtual:VirtualDevice"\nconect = "on_grant"',
            ("no setting 'conect'", "did you mean 'connect'?"),
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_the_lab_file(folder: Path, right: str, wrong: str, reasons: tuple[str, ...]) -> None:
    assert right in LAB
    lab = LAB.replace(right, wrong, 1)
    assert_says(told(folder, lab), folder / "lab.toml", lab, wrong.splitlines()[-1], *reasons)


@pytest.mark.parametrize(
    ("added", "part", "reasons"),
    [
        ('[[devices]]\nid = "plate"  # again\ndriver = "a.b:C"\n', "# again", ("'plate' is defined twice",)),
        ('[[stocks]]\nid = "argon"  # again\nunit = "mL"\nlevel = 1\n', "# again", ("'argon' is defined twice",)),
        ('[[devices]]  # this\nid = "other"\ndrivr = "a.b:C"\n', "# this", ("'driver' is missing", "'drivr'")),
        (
            '[[devices]]\nid = "real"\ndriver = "modules.drivers.arm:RobotArm"\naddress = "/dev/ttyS9"\n'
            'simulator = "modules.simulation.arm:SimulatedArm"\n[clock]\nscale = 1\n',
            "SimulatedArm", ("device 'real' has the real address '/dev/ttyS9' and a `simulator`",),
        ),
        ("[resources.slots]\ncapacity = 3\n", "[resources.slots]", ("no module has places 'slots'",)),
        ('[[people]]\nid = "kim"\nhours = "Mo 8-18"\n', "hours", ("person 'kim'",)),
        ('[module.oven]\npackage = "x"\n', "[module.oven]", ("no key 'module'", "did you mean 'modules'?")),
        (
            '[[interlocks]]\nid = "hot"\nreading = "plat.runs"\nrule = "ceiling"\ntrip = 3.0\ncovers = ["oven"]\n',
            "reading", ("'plat'", "did you mean 'plate'?"),
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_what_is_added_to_the_lab_file(
    folder: Path, added: str, part: str, reasons: tuple[str, ...]
) -> None:
    lab = f"{LAB if '[clock]' not in added else LAB.replace(CLOCK, '')}\n{added}"
    assert_says(told(folder, lab), folder / "lab.toml", lab, part, *reasons)


@pytest.mark.parametrize(
    ("right", "wrong", "part", "reasons"),
    [
        ('"plate": "use"', '"plate": "used"', None, ("Step.devices.plate", "'use' or 'still'", "not 'used'")),
        ('"plate": "use"', '"plat": "use"', "return Manifest",
         ("task 'bake', step 'warm'", "device 'plat'", "'plate'?")),
        ('takes=("slot",)', 'takes=("slit",)', "return Manifest",
         ("task 'bake', step 'warm'", "resource 'slit'", "'slot'?")),
        ('duration_s="time"', 'duration_s="tme"', "return Manifest", ("step 'warm'", "'tme'", "'time'?")),
        ('duration_s="time"', 'duration_s="time *"', None, ("Step.duration_s", "'time *' is not an expression")),
        ('duration_s="time"', 'duration="time"', None, ("no key 'duration'", "did you mean 'duration_s'?")),
        ('action="warm"', 'action="wram"', "return Manifest", ("action 'wram'", "did you mean 'warm'?")),
        ('name="cool"', 'name="warm"', "Task(", ("task 'bake' has two steps",)),
        ('Action(name="warm"),', 'Action(name="warm"), Action(name="warm"),', "return Manifest", ("two actions",)),
        ('actions=(Action(name="warm"),)', 'actions="warm"', "return Manifest", ("Manifest.actions",)),
        ('"unit": "s"', '"unit": "sek"', "def manifest", ("task 'bake', parameter 'time'", "no unit 'sek'")),
        ('unit="degC"', 'unit="degCC"', "def manifest", ("task 'bake', result 'reached'", "no unit 'degCC'")),
        ("    return Manifest(", "    raise KeyError('size')\n    return Manifest(", "raise KeyError",
         ("manifest() of module 'oven' fails", "KeyError: 'size'")),
        ("    return Manifest(", "    return dict(", "def manifest", ("must return a Manifest",)),
        ("def warm(ctx):", "def warm(ctx, plate):", None, ("action 'warm'", "def warm(ctx):")),
        ("def warm(ctx):", "def warm():", None, ("action 'warm'", "def warm(ctx):")),
        ("def warm(ctx):", "async def warm(ctx):", None, ("action 'warm'", "async")),
        ("import Action", "import Acton", None, ("cannot be imported", "Acton")),
        ("def warm(ctx):", "def warm(ctx:", None, ("'bad_oven'",)),
    ],
)  # fmt: skip
def test_a_mistake_in_the_package(
    folder: Path, right: str, wrong: str, part: str | None, reasons: tuple[str, ...]
) -> None:
    assert right in PACKAGE
    package = PACKAGE.replace(right, wrong, 1)
    assert_says(told(folder, LAB, package), folder / MODULE, package, part or wrong, *reasons)


@pytest.mark.parametrize(
    ("right", "wrong", "reasons"),
    [
        ('ACTIONS = {"warm": warm}', 'ACTIONS = {"wram": warm}', ("no 'warm'", "'bake', step 'warm'", "'wram'?")),
        ('ACTIONS = {"warm": warm}', "ACTIONS = [warm]", ("ACTIONS must be a mapping",)),
        ('ACTIONS = {"warm": warm}', 'ACTIONS = {"warm": "warm"}', ("action 'warm' is no function",)),
        ('ACTIONS = {"warm": warm}', "", ("does not offer 'ACTIONS'",)),
    ],
)
def test_a_mistake_in_the_actions(folder: Path, right: str, wrong: str, reasons: tuple[str, ...]) -> None:
    (said,) = told(folder, LAB, PACKAGE.replace(right, wrong))
    assert said.startswith(str(folder / MODULE)), said
    assert all(reason in said for reason in reasons), said


def test_an_unknown_option_is_a_mistake_of_the_lab_file(folder: Path) -> None:
    lab = LAB.replace(
        "[[stocks]]", '[modules.v]\npackage = "modules.virtual"\noptions = { slotz = 3, devices = 0 }\n\n[[stocks]]'
    )
    assert_says(told(folder, lab), folder / "lab.toml", lab, "slotz", "no key 'slotz'", "did you mean 'slots'?")


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    lab = LAB.replace("VirtualDevice", "VirtualDevise").replace('unit = "mL"', 'unit = "mLL"')
    package = PACKAGE.replace('unit="degC"', 'unit="degCC"')
    found = told(folder, lab, package)
    assert [re.sub(r"^.*/(\S+): .*", r"\1", said) for said in found] == [
        "lab.toml:13",
        f"lab.toml:{line_of(lab, 'mLL')}",
        f"__init__.py:{line_of(package, 'def manifest')}",
    ]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(LabFileError, match="UTF-8: byte 8 is not"):
        load(tmp_path / "lab.toml")


def test_up_refuses_it_and_keeps_nothing(folder: Path) -> None:
    said = told(folder, LAB, PACKAGE.replace('"plate": "use"', '"plat": "use"'))
    data = folder / "data"
    ended = subprocess.run(
        [sys.executable, "-m", "octolab.stack", "up"]
        + ["--no-demo", "--port", "0", "--lab", str(folder / "lab.toml"), "--data", str(data)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert said[0] in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    kept = {path.name for path in data.rglob("*") if path.is_file()}
    assert kept == {"stack.log", "stack.lock", "secret_key", "redis_password"}
