"""URLs of the pages about people, and of those who administer them."""

from __future__ import annotations

from django.urls import path

from . import accounting, admin

people_urls = [
    path("accounting", accounting.accounting, name="accounting"),
    path("admin/audit", admin.audit, name="admin-audit"),
]
