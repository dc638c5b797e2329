"""The job format: what people write, read strictly and checked against one schema."""

from .model import JobDocument
from .parse import parse
from .problems import JobRefused, Problem
from .published import schema

__all__ = ["JobDocument", "JobRefused", "Problem", "parse", "schema"]
