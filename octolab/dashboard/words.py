"""What things are called on pages: ids become words, in one place."""

from __future__ import annotations

import re

from scheduler import catalogue
from scheduler.models import Step

from .thelab import device_title, the_lab

_NUMBERED = re.compile(r"^(.*)_(\d+)$")


def plain(name: str) -> str:
    """Write a name as words: ``AgNO3 volume`` for ``AgNO3_volume``."""
    return name.replace("_", " ")


def sentence(text: str) -> str:
    """Begin with a capital letter, and leave all others as they are."""
    return text[:1].upper() + text[1:]


def thing(name: str) -> str:
    """Write a device, a person, a module, a stock or the whole lab as people call it."""
    return catalogue.current().title(name)


def place_kind(resource: str) -> str:
    """Write a kind of place: ``Batch synthesis: vial slot``."""
    return catalogue.current().title(resource)


def place(name: str) -> str:
    """Write a place: ``Batch synthesis: vial slot 1`` for ``batch_synthesis.vial_slot.1``."""
    known = catalogue.current().places
    kind = max((one for one in known if name == one or name.startswith(f"{one}.")), key=len, default=None)
    if kind is None:
        return name
    label = name[len(kind) + 1 :]
    alone = known[kind].capacity == 1
    return place_kind(kind) if alone or not label else f"{place_kind(kind)} {label}"


def task(module: str, name: str) -> str:
    """Write a task as its module calls it: ``Add a solution``."""
    return catalogue.current().task_title(module, name)


def step(row: Step) -> str:
    """Write a step: ``Add a solution: 1200 µL of Citrate``, ``Measure a spectrum: fill``."""
    title = task(row.module, row.task_name)
    if row.adds and isinstance(row.adds.get("volume_ul"), int | float):
        return f"{title}: {row.adds['volume_ul']:g} µL of {row.adds.get('solution', '')}"
    manifest = catalogue.current().manifests.get(row.module)
    steps = next((task.steps for task in manifest.tasks if task.name == row.task_name), ()) if manifest else ()
    alone = len(steps) == 1 or row.name == row.task_name
    return title if alone else f"{title}: {plain(row.name)}"


def result(row: Step, name: str) -> tuple[str, str]:
    """Return how a result of a step's task is called, and its unit: ``("peak", "nm")`` for ``peak_nm``."""
    manifest = catalogue.current().manifests.get(row.module)
    tasks = manifest.tasks if manifest is not None else ()
    declared = (one for known in tasks if known.name == row.task_name for one in known.results)
    found = next((one for one in declared if one.name == name), None)
    if found is None:
        return plain(name), ""
    return found.title or plain(name.removesuffix(f"_{found.unit.lower()}")), found.unit


def task_key(key: str) -> str:
    """Write the name of a task in a job's workflow: ``add (4th)`` for ``add_4``."""
    found = _NUMBERED.match(key)
    if found is None:
        return plain(key)
    number = int(found[2])
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{plain(found[1])} ({number}{ending})"


def reading(name: str) -> str:
    """Write a figure of a device's status: ``temperature degc of the Stirring hotplate``."""
    device, _, figure = name.partition(".")
    return f"{plain(figure)} of {device_title(device)}" if figure else device_title(device)


def used(row: Step) -> str:
    """Write the devices that a step uses. Of several that a module has under one name, nobody says that all of them did
    something: ``Linear actuator, pumps``."""
    lab, manifest = the_lab(), catalogue.current().manifests.get(row.module)
    # As the lab file names them: a database may keep them in any order.
    order = [device.id for device in lab.devices]
    names = [device for device, mode in row.devices.items() if mode == "use"]
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    for local, known in manifest.devices.items() if manifest is not None else ():
        group = lab.device_ids(row.module, local) if known.many and row.module in lab.modules else ()
        if len(group) > 1 and set(group) <= set(names):
            first = names.index(next(name for name in names if name in group))
            names = [
                *(n for n in names[:first] if n not in group),
                f"={local}",
                *(n for n in names[first:] if n not in group),
            ]
    return ", ".join(plain(name[1:]) if name.startswith("=") else device_title(name) for name in names)
