"""Manifests: taken in when a host publishes one, kept by hash; places are made from them.

A job keeps the manifests that it was checked against. If a host comes with another one, what the job still needs of the
module is compared: the same tasks and actions mean the same, so the job goes on under the new manifest; anything else
holds the job until somebody decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from pydantic import ValidationError

from modules.contract.lab import Lab
from modules.contract.manifest import Manifest
from modules.contract.messages import HostRecord
from scheduler import models
from scheduler.catalogue import Catalogue
from scheduler.process.bench import Bench
from scheduler.process.flow import Flow
from scheduler.process.live import LiveJob
from scheduler.states import JobState

log = structlog.get_logger("octolab.scheduler")


class Manifests:
    """Knows all manifests by hash."""

    def __init__(self, lab: Lab, bench: Bench) -> None:
        self.lab = lab
        self.bench = bench
        self._known: dict[str, Manifest] = {}
        self._refused: set[str] = set()

    def load(self, flow: Flow) -> None:
        """Read the manifests that are stored, for the places that they define."""
        for document in models.Manifest.objects.values_list("document", flat=True):
            manifest = Manifest.model_validate(document)
            self._known[manifest.hash()] = manifest
        for resource, storage in self._storage().items():
            flow.state.places.storage[resource] = storage

    def repeat_safe(self, job: LiveJob, module: str, action: str | None) -> bool:
        """Tell whether doing the action twice is the same as doing it once."""
        manifest = self._known.get(job.manifests.get(module, ""))
        if manifest is None or action is None:
            return False
        try:
            return manifest.action(action).repeat_safe
        except KeyError:
            return False

    def title(self, job: LiveJob, module: str, task: str) -> str:
        """Return what people call a task."""
        manifest = self._known.get(job.manifests.get(module, ""))
        return next((known.title for known in manifest.tasks if known.name == task), task) if manifest else task

    def may_pause(self, job: LiveJob, module: str, action: str | None) -> bool:
        """Tell whether the action has safe points at which it can wait."""
        manifest = self._known.get(job.manifests.get(module, ""))
        actions = manifest.actions if manifest is not None else ()
        return any(known.name == action and known.pause != "none" for known in actions)

    def take_in(self, hosts: Mapping[str, HostRecord], flow: Flow) -> None:
        """Take in what the hosts that are alive serve now."""
        served = {
            instance: digest
            for record in hosts.values()
            for instance, digest in record.modules.items()
            if instance in self.lab.modules and self.lab.modules[instance].host == record.host
        }
        changed = {
            instance: digest for instance, digest in served.items() if flow.state.manifests.get(instance) != digest
        }
        if not changed:
            return
        unknown = set(changed.values()) - self._known.keys() - self._refused
        for digest, document in self.bench.manifests(unknown).items():
            self._store(digest, document, flow)
        for instance, digest in changed.items():
            manifest = self._known.get(digest)
            if manifest is None:
                continue
            flow.state.manifests[instance] = digest
            self._make_places(instance, manifest, flow)
            self._assign_devices(instance, manifest, flow)
            flow.changes.writes.append(partial(_serve, instance, digest))
            for job in list(flow.state.jobs.values()):
                if instance in job.manifests and job.manifests[instance] != digest:
                    self._revalidate(job, instance, manifest, digest, flow)
            flow.plan.mark_stale()
        self._let_go_on(flow)
        in_force = {name: self._known[digest] for name, digest in flow.state.manifests.items() if digest in self._known}
        flow.references.catalogue = Catalogue(self.lab, in_force)
        flow.grants.wake_all()

    def _store(self, digest: str, document: dict[str, Any], flow: Flow) -> None:
        try:
            manifest = Manifest.model_validate(document)
        except ValidationError as error:
            log.error("a published manifest is refused", hash=digest, error=str(error))
            self._refused.add(digest)
            return
        if manifest.hash() != digest:
            log.error("a published manifest does not have the hash it says", hash=digest)
            self._refused.add(digest)
            return
        self._known[digest] = manifest
        dumped = manifest.model_dump(mode="json")
        flow.changes.writes.append(
            lambda: models.Manifest.objects.get_or_create(hash=digest, defaults={"document": dumped})
        )

    def _make_places(self, instance: str, manifest: Manifest, flow: Flow) -> None:
        new = []
        for local, resource in manifest.resources.items():
            name = self.lab.resource_id(instance, local)
            flow.state.places.storage[name] = flow.state.places.is_storage(name) or resource.storage
            there = flow.state.places.held.get(name, {})
            for index in range(self.lab.capacity(instance, local, manifest)):
                if index not in there:
                    flow.state.places.add(name, index)
                    new.append(models.Place(resource=name, index=index))
        if new:
            flow.changes.writes.append(lambda: models.Place.objects.bulk_create(new, ignore_conflicts=True))

    def _assign_devices(self, instance: str, manifest: Manifest, flow: Flow) -> None:
        """Note which module uses which device, and who its home host is."""
        host = self.lab.modules[instance].host
        for name in {d for local in manifest.devices for d in self.lab.device_ids(instance, local)}:
            device = flow.state.devices.get(name)
            if device is not None and (device.host != host or instance not in device.modules):
                device.host, device.modules = host, sorted({*device.modules, instance})
                flow.changes.touch(device)

    def _storage(self) -> dict[str, bool]:
        """Return which resources of stored manifests are storage, by their ids in the lab."""
        found: dict[str, bool] = {}
        for instance, section in self.lab.modules.items():
            for manifest in self._known.values():
                if manifest.package == section.package:
                    for local, resource in manifest.resources.items():
                        name = self.lab.resource_id(instance, local)
                        found[name] = found.get(name, False) or resource.storage
        return found

    def _let_go_on(self, flow: Flow) -> None:
        """Release jobs whose modules are again what they were accepted for."""
        for job in flow.state.jobs.values():
            if job.state == JobState.HELD and job.manifests.items() <= flow.state.manifests.items():
                flow.changes.job(job, JobState.QUEUED if job.started_s is None else JobState.RUNNING)

    def _revalidate(self, job: LiveJob, instance: str, new: Manifest, digest: str, flow: Flow) -> None:
        old = self._known.get(job.manifests[instance])
        open_tasks = {s.task_name for s in job.steps if s.module == instance and not s.final}
        if not open_tasks or (old is not None and _same(old, new, open_tasks)):
            job.manifests = {**job.manifests, instance: digest}
            flow.changes.touch(job)
        elif job.state in (JobState.QUEUED, JobState.RUNNING):
            reason = f"The module {instance} has changed since the job was accepted. Cancel it and submit it again."
            flow.changes.job(job, JobState.HELD, reason)


def _serve(instance: str, digest: str) -> None:
    models.Module.objects.update_or_create(id=instance, defaults={"manifest_id": digest})


def _same(old: Manifest, new: Manifest, tasks: set[str]) -> bool:
    """Tell whether tasks, and the actions they use, are the same in both manifests."""
    for name in tasks:
        try:
            one, two = old.task(name), new.task(name)
            actions = {step.action for step in one.steps if step.action is not None}
            if one != two or any(old.action(action) != new.action(action) for action in actions):
                return False
        except KeyError:
            return False
    return all(old.resources.get(name) == resource for name, resource in new.resources.items())
