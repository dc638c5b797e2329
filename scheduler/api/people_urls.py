"""The routes of accounts of use, quotas and the lab's settings, below ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from . import accounting

people_urls = [
    path("accounting", accounting.Accounting.as_view()),
    path("accounting.csv", accounting.AccountingTable.as_view()),
    path("quotas", accounting.MyQuotas.as_view()),
    path("quotas/users/<str:username>", accounting.UserQuota.as_view()),
    path("quotas/projects/<slug:slug>", accounting.ProjectQuota.as_view()),
    path("lab/policy", accounting.Policy.as_view()),
]
