"""The task generator: a job becomes samples, tasks and steps, deterministically from document, manifests and job id."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from scheduler.catalogue import Catalogue
from scheduler.jobformat.model import JobDocument
from scheduler.jobformat.problems import Problems
from scheduler.jobformat.unused import refuse_misspelt

from .expand import Earlier, Expander
from .late import Settled, settle
from .offers import find
from .rows import Expansion, SampleRow, StepRow, TaskRow
from .workflow import keys_of

__all__ = ["Earlier", "Expansion", "SampleRow", "Settled", "StepRow", "TaskRow", "expand", "generate", "settle"]


def expand(
    document: JobDocument,
    catalogue: Catalogue,
    job_id: UUID,
    problems: Problems,
    earlier: Mapping[UUID, Earlier] | None = None,
    *,
    by_hand: bool = False,
) -> Expansion:
    """Expand a job and note whatever is wrong with it; the rows are of use only if nothing is.

    Parameters
    ----------
    earlier
        Samples of earlier jobs that the document refers to, by id. One that is missing here must have its problem
        noted already.
    by_hand
        Whether an operator runs it by hand, and so may do what is otherwise done by itself: end a setting.
    """
    keys = keys_of(document)
    problems.task_keys = keys
    expansion = Expander(document, catalogue, job_id, keys, problems, earlier or {}, by_hand=by_hand).expand()
    if not problems and (document.parameters or not isinstance(document.samples, int | None)):
        offers = [find(catalogue, entry.task) for entry in document.workflow]
        taken = [name for offer in offers if offer is not None for name in offer.parameters]
        refuse_misspelt(document.normalised(), taken, problems)
    return expansion


def generate(
    document: JobDocument, catalogue: Catalogue, job_id: UUID, earlier: Mapping[UUID, Earlier] | None = None
) -> Expansion:
    """Return the rows of a job.

    Raises
    ------
    scheduler.jobformat.JobRefused
        With everything that is wrong with it.
    """
    problems = Problems()
    expansion = expand(document, catalogue, job_id, problems, earlier)
    problems.refuse()
    return expansion
