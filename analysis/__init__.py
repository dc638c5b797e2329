"""Results: documents, arrays, retrieval by job id, analysis routines, optimisers."""
