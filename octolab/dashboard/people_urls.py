"""URLs of the pages about people, and of those who administer them."""

from __future__ import annotations

from django.urls import include, path

from . import accounting, admin, approvals, people, projects

people_urls = [
    path("invitation/<str:secret>", people.invitation, name="invitation"),
    path("admin", people.people, name="admin-people"),
    path("admin/settings", people.settings, name="admin-settings"),
    path("admin/invitations", people.invitations, name="admin-invitations"),
    path("admin/projects", people.projects, name="admin-projects"),
    path("admin/accounts/<str:username>", people.account, name="admin-account"),
    path("account/", include("allauth.urls")),
    path("operator/jobs/<uuid:job_id>/approval", approvals.decide, name="operator-approval"),
    path("accounting", accounting.accounting, name="accounting"),
    path("admin/rules", projects.usual, name="admin-rules"),
    path("projects/<slug:slug>", projects.project, name="project"),
    path("projects/<slug:slug>/change", projects.change, name="project-change"),
    path("admin/audit", admin.audit, name="admin-audit"),
]
