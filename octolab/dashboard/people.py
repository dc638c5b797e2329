"""Pages about people: invitations for those who come, and what a lab admin does in the first hour."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from octolab.ids import uuid_or_none
from scheduler.services.approval import unknown_modules
from users import services
from users.accounts.adapter import INVITATION
from users.accounts.services import OFF, Sent, admit, invite, open_invitation, reset_access, turn_away, withdraw
from users.models import Invitation, LabPolicy, LabRole, Project, SignUp, User
from users.policies.services import change_policy, set_quota
from users.policies.text import names
from users.services import AccountError

from .admin import admins_only
from .asker import asker


@never_cache
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """Let somebody with an invitation's link make an account."""
    found = open_invitation(secret)
    if found is None:
        return render(request, "octolab/invitation_gone.html", status=410)
    if LabPolicy.current().sign_up == LabPolicy.SignUp.OFF:
        raise Http404
    request.session[INVITATION] = str(found.pk)
    return redirect("account_signup")


@admins_only
@never_cache
def people(request: HttpRequest, sent: Sent | None = None, access: tuple[str, str] | None = None) -> HttpResponse:
    """Show accounts, projects, invitations and the lab's settings."""
    users = User.objects.order_by("username").prefetch_related("lab_roles").select_related("quota")
    return render(
        request,
        "octolab/admin/people.html",
        {
            "policy": LabPolicy.current(),
            "sign_up": LabPolicy.SignUp.choices,
            "users": users[:500],
            "waiting": SignUp.objects.select_related("user").order_by("made_at"),
            "projects": Project.objects.filter(personal_of=None).order_by("slug").select_related("quota")[:500],
            "invitations": Invitation.objects.filter(used_at=None).order_by("-made_at")[:100],
            "sent": sent,
            "access": access,
        },
    )


@admins_only
@require_POST
def settings(request: HttpRequest) -> HttpResponse:
    """Change the lab's settings."""
    form = request.POST
    try:
        change_policy(
            sign_up=form.get("sign_up", ""),
            mfa_for=[role for role in ("operator", "admin", "user") if form.get(f"mfa_{role}")],
            open_jobs_per_user=_number(form.get("open_jobs_per_user", ""), int, "open_jobs_per_user"),
            module_hours_per_user=_number(form.get("module_hours_per_user", ""), float, "module_hours_per_user"),
            half_life_h=_number(form.get("half_life_h", ""), float, "half_life_h"),
        )
    except AccountError as error:
        messages.error(request, f"{error.path}: {error}", extra_tags="bad")
    return redirect("admin-people")


@admins_only
@require_POST
def invitations(request: HttpRequest) -> HttpResponse:
    """Invite somebody, and show the link once; or withdraw an invitation."""
    if request.POST.get("do") == "withdraw":
        withdraw(get_object_or_404(Invitation, pk=_pk(request), used_at=None))
        return redirect("admin-people")
    project = Project.objects.filter(slug=request.POST.get("project", "")).first()
    try:
        sent = invite(request.POST.get("email", ""), project, by=asker(request).username)
    except AccountError as error:
        messages.error(request, str(error), extra_tags="bad")
        return redirect("admin-people")
    if LabPolicy.current().sign_up == LabPolicy.SignUp.OFF:
        messages.warning(request, f"{OFF} set Sign-up to “Invitation” above.", extra_tags="bad")
    return people(request, sent=sent)


@admins_only
@require_POST
def account(request: HttpRequest, username: str) -> HttpResponse:
    """Change an account: let in, lock, unlock, roles, quota."""
    user = get_object_or_404(User, username=username)
    form = request.POST
    try:
        match form.get("do", ""):
            case "admit":
                admit(user)
            case "turn_away":
                turn_away(user)
            case "lock" if user != asker(request):
                services.deactivate(user)
            case "unlock":
                services.activate(user)
            case "give":
                modules = names(form.get("modules", "")) or None
                services.set_lab_role(user, _role(form.get("role", "")), modules)
                if said := unknown_modules(modules or ()):
                    messages.warning(request, said, extra_tags="bad")
            case "take" if not (user == asker(request) and form.get("role") == LabRole.Role.ADMIN):
                services.take_lab_role(user, _role(form.get("role", "")))
            case "quota":
                set_quota(user, **_quota(request))
            case "reset" if user != asker(request):
                return people(request, access=(user.username, reset_access(user)))
            case _:
                raise AccountError("do", "This cannot be done to this account.")
    except AccountError as error:
        messages.error(request, str(error), extra_tags="bad")
    return redirect("admin-people")


@admins_only
@require_POST
def projects(request: HttpRequest) -> HttpResponse:
    """Make a project, with a member as its first admin; or set its quota."""
    form = request.POST
    try:
        if form.get("do") == "quota":
            set_quota(get_object_or_404(Project, slug=form.get("slug", "")), **_quota(request))
        else:
            head = User.objects.filter(username=form.get("admin", ""), is_active=True).first()
            if head is None:
                raise AccountError("admin", "Name an active user who shall be the project's admin.")
            services.create_project(head, form.get("slug", ""), form.get("name", "")[:200])
    except AccountError as error:
        messages.error(request, str(error), extra_tags="bad")
    return redirect("admin-people")


def _pk(request: HttpRequest) -> UUID | None:
    return uuid_or_none(request.POST.get("invitation", ""))


def _role(text: str) -> str:
    if text not in LabRole.Role.values:
        raise AccountError("role", f"Roles are {', '.join(LabRole.Role.values)}.")
    return text


def _quota(request: HttpRequest) -> dict[str, int | float | None]:
    return {
        "open_jobs": _number(request.POST.get("open_jobs", ""), int, "open_jobs"),
        "module_hours": _number(request.POST.get("module_hours", ""), float, "module_hours"),
    }


def _number(text: str, kind: type[int] | type[float], name: str) -> int | float | None:
    if not text.strip():
        return None
    try:
        return kind(text)
    except ValueError as error:
        raise AccountError(name, "This has to be a number.") from error
