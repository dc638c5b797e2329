"""URLs of the pages about people, and of those who administer them."""

from __future__ import annotations

from django.urls import path

from . import accounting, admin, approvals

people_urls = [
    path("operator/jobs/<uuid:job_id>/approval", approvals.decide, name="operator-approval"),
    path("accounting", accounting.accounting, name="accounting"),
    path("admin/audit", admin.audit, name="admin-audit"),
]
