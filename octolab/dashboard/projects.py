"""The page of a project: its members, and what its jobs may use."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from scheduler import catalogue
from scheduler.services.approval import unknown_names
from users import services
from users.models import Project, ProjectRole, User
from users.permissions import project_role
from users.policies import text
from users.policies.rules import change_project, rules_of, set_rules, usual_rules
from users.policies.services import change_policy
from users.services import AccountError

from .admin import admins_only
from .asker import asker


@login_required
def project(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a project to its members and to lab admins."""
    found, heads = _found(asker(request), slug)
    rules = rules_of(found)
    context = {
        "project": found,
        "members": found.memberships.select_related("user").order_by("user__username"),
        "roles": ProjectRole.choices,
        "rules": text.lines(rules),
        "unknown": unknown_names(rules),
        "heads": heads,
        "rules_are_mine": asker(request).is_lab_admin,
        "task_names": catalogue.current().task_names,
    }
    return render(request, "octolab/project.html", context)


@login_required
@require_POST
def change(request: HttpRequest, slug: str) -> HttpResponse:
    """Change members, name or visibility: the project's admins and lab admins; rules and share: lab admins."""
    found, heads = _found(asker(request), slug)
    wanted = request.POST.get("do", "")
    if not (asker(request).is_lab_admin if wanted in ("rules", "usual") else heads):
        raise Http404
    try:
        _do(found, wanted, request)
    except AccountError as error:
        messages.error(request, f"{error.path}: {error}", extra_tags="bad")
    else:
        messages.success(request, "Saved.", extra_tags="ok")
    return redirect("project", slug=found.slug)


def _do(found: Project, wanted: str, request: HttpRequest) -> None:
    form = request.POST
    match wanted:
        case "member":
            role = form.get("role", "")
            if role not in ProjectRole.values:
                raise AccountError("role", f"Roles are {', '.join(ProjectRole.values)}.")
            services.add_member(found, form.get("username", "").strip(), role)
        case "remove":
            services.remove_member(found, get_object_or_404(User, username=form.get("username", "")))
        case "change":
            name = form.get("name", "").replace("\0", "").strip()[:200]
            change_project(found, name=name or found.slug, shows_names="shows_names" in form)
        case "rules":
            set_rules(found, _rules(form), share=_share(form.get("share", "")))
        case "usual":
            set_rules(found, {})
        case _:
            raise AccountError("do", "This cannot be done to a project.")


def _rules(form: QueryDict) -> dict[str, Any]:
    return {
        "allow": text.names(form.get("allow", "")) or None,
        "deny": text.names(form.get("deny", "")),
        "approve": text.names(form.get("approve", "")),
        "ranges": text.ranges(form.get("ranges", "")),
        "approve_agents": "approve_agents" in form,
    }


@admins_only
def usual(request: HttpRequest) -> HttpResponse:
    """Show and set the rules of projects that have none of their own."""
    if request.method == "POST":
        try:
            change_policy(rules=_rules(request.POST))
        except AccountError as error:
            messages.error(request, f"{error.path}: {error}", extra_tags="bad")
        else:
            messages.success(request, "Saved.", extra_tags="ok")
        return redirect("admin-rules")
    rules = usual_rules()
    context = {
        "rules": text.lines(rules),
        "unknown": unknown_names(rules),
        "task_names": catalogue.current().task_names,
    }
    return render(request, "octolab/admin/rules.html", context)


def _share(written: str) -> float:
    try:
        return float(written)
    except ValueError as error:
        raise AccountError("share", "A share is a number from 0.001 to 1000; 1 is usual.") from error


def _found(user: User, slug: str) -> tuple[Project, bool]:
    """Return the project, and whether the user may change its members; 404 if the user may not see it."""
    projects = Project.objects.all() if user.is_lab_admin else Project.objects.visible_to(user)
    found = get_object_or_404(projects, slug=slug)
    return found, user.is_lab_admin or project_role(user, found) == ProjectRole.ADMIN
