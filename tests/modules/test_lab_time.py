"""Lab time of a simulation: it stops with its stack, and never goes back."""

from __future__ import annotations

from analysis.documents import DocumentStore
from modules.contract.clock import resume


def test_a_simulated_lab_resumes_behind_all_that_was_recorded(mongo_url: str) -> None:
    store = DocumentStore(mongo_url)
    first = resume(store.database, 100.0, simulated=True)
    # It was killed before it could note how late it was, but something had happened at second 5000.
    again = resume(store.database, 100.0, simulated=True, at_least_s=5000.0)
    assert first.now() < 5000 <= again.now()
    assert resume(store.database, 100.0, simulated=True, at_least_s=10.0).now() >= 5000
    assert again.anchor.epoch == first.anchor.epoch
    store.close()
