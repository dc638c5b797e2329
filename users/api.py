"""Tokens, projects and who one is, over REST."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.contrib.auth import authenticate
from django.db.models import Prefetch
from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.errors import Problem, invalid
from octolab.api.serializers import StrictSerializer, body
from octolab.api.views import ApiView, asker

from . import services
from .audit import came_from
from .models import LabRole, Membership, Project, ProjectRole, Scope, Token, User
from .permissions import LOGGED_IN, PUBLIC, has_scope, needs, project_role, require
from .throttling import LOCKED_OUT, PasswordThrottle, retry_after_s

_TAG = ["people"]


class TokenInput(StrictSerializer):
    """What a token shall be good for. Name and password are needed unless one is logged in at the dashboard."""

    username = serializers.CharField(required=False, max_length=150)
    password = serializers.CharField(required=False, max_length=1000, trim_whitespace=False, write_only=True)
    name = serializers.CharField(default="token", max_length=100)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(Scope.choices), default=list(services.DEFAULT_SCOPES), max_length=20
    )
    project = serializers.SlugField(
        required=False, allow_null=True, max_length=64, help_text="Short name; the token then works for it alone."
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class TokenOutput(serializers.ModelSerializer[Token]):
    """A token, without its secret."""

    id = serializers.UUIDField(source="uid", read_only=True)
    scopes = serializers.ListField(child=serializers.CharField(), read_only=True)
    project: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True, allow_null=True)
    created_at = serializers.DateTimeField(source="created", read_only=True)
    expires_at = serializers.DateTimeField(source="expiry", read_only=True, allow_null=True)

    class Meta:
        model = Token
        fields: tuple[str, ...] = (
            "id",
            "name",
            "scopes",
            "project",
            "created_at",
            "expires_at",
            "last_used_at",
            "last_address",
        )
        read_only_fields: tuple[str, ...] = fields


class NewTokenOutput(TokenOutput):
    """A token at the one time when its secret is shown."""

    token = serializers.CharField(read_only=True, help_text="Keep it: it is shown this once.")

    class Meta(TokenOutput.Meta):
        fields = (*TokenOutput.Meta.fields, "token")
        read_only_fields = fields


class Tokens(ApiView):
    """The asker's tokens."""

    access = {"GET": LOGGED_IN, "POST": PUBLIC}
    problems = {"POST": (401, 403, 429)}
    throttle_classes = (PasswordThrottle,)

    @extend_schema(operation_id="tokens_list", responses=TokenOutput(many=True), tags=_TAG)
    def get(self, request: Request) -> Response:
        """List your tokens."""
        tokens = Token.objects.filter(user=request.user).select_related("project").order_by("-created")
        return Response(TokenOutput(tokens, many=True).data)

    @extend_schema(
        operation_id="tokens_create",
        request=TokenInput,
        responses={201: NewTokenOutput},
        tags=_TAG,
    )
    def post(self, request: Request) -> Response:
        """Make a token, with user name and password or from the dashboard. A token cannot make another."""
        wish = body(TokenInput, request)
        user = _who_makes_a_token(request, wish)
        project = None
        if wish.get("project"):
            project = Project.objects.visible_to(user).filter(slug=wish["project"]).first()
            if project is None:
                raise invalid(("/project", "You are no member of such a project."))
        try:
            token, secret = services.create_token(
                user, wish["name"], wish["scopes"], project=project, expires_at=wish.get("expires_at")
            )
        except services.AccountError as error:
            raise invalid((f"/{error.path}", str(error))) from error
        shown = TokenOutput(token).data
        return Response({**shown, "token": secret}, status=201)


def _who_makes_a_token(request: Request, wish: dict[str, Any]) -> User:
    if "username" in wish and "password" in wish:
        django_request = request._request
        user = authenticate(django_request, username=wish["username"], password=wish["password"])
        if getattr(django_request, "axes_locked_out", False):
            raise Problem(429, "locked-out", LOCKED_OUT, headers={"Retry-After": str(retry_after_s())})
        if user is None:
            raise AuthenticationFailed("The user name or the password is wrong.")
        came_from(user, "password")
        return cast("User", user)
    if isinstance(request.auth, Token):
        raise PermissionDenied("A token cannot make another. Send username and password.")
    if not request.user.is_authenticated:
        raise AuthenticationFailed("Send username and password.")
    return request.user


class TokenDetail(ApiView):
    """One of the asker's tokens."""

    access = {"DELETE": LOGGED_IN}

    @extend_schema(operation_id="tokens_revoke", responses={204: None}, tags=_TAG)
    def delete(self, request: Request, token_id: UUID) -> Response:
        """Revoke a token. A token may always revoke itself, and others of its user if it has the scope `admin`."""
        token = get_object_or_404(Token, user=request.user, uid=token_id)
        itself = isinstance(request.auth, Token) and request.auth.pk == token.pk
        require(
            itself or has_scope(request, Scope.ADMIN),
            "This token lacks the scope 'admin', and without it may revoke itself alone.",
        )
        services.revoke_token(token)
        return Response(status=204)


class MembershipOutput(serializers.Serializer[Membership]):
    """A member of a project."""

    username = serializers.CharField(source="user.username", read_only=True)
    role = serializers.ChoiceField(ProjectRole.choices, read_only=True)


class ProjectOutput(serializers.ModelSerializer[Project]):
    """A project of which the asker is a member."""

    personal = serializers.SerializerMethodField()
    members = MembershipOutput(source="memberships", many=True, read_only=True)

    class Meta:
        model = Project
        fields = ("id", "slug", "name", "personal", "created_at", "members")
        read_only_fields = fields

    def get_personal(self, project: Project) -> bool:
        """Whether it is somebody's own."""
        return project.personal_of_id is not None


class ProjectInput(StrictSerializer):
    """A new project."""

    slug = serializers.RegexField(
        r"^[a-z0-9][a-z0-9_-]{0,62}\Z", trim_whitespace=False, help_text="Short name, used in jobs and addresses."
    )
    name = serializers.CharField(required=False, default="", max_length=200)


class MemberInput(StrictSerializer):
    """Somebody's role in a project."""

    username = serializers.CharField(max_length=150)
    role = serializers.ChoiceField(ProjectRole.choices, default=ProjectRole.MEMBER)


class LabRoleOutput(serializers.ModelSerializer[LabRole]):
    """A role in the lab."""

    modules = serializers.ListField(child=serializers.CharField(), allow_null=True, read_only=True)

    class Meta:
        model = LabRole
        fields = ("role", "modules")
        read_only_fields = fields


class MeOutput(serializers.Serializer[Any]):
    """Who one is, and what the credential is good for."""

    username = serializers.CharField()
    email = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    token = TokenOutput(allow_null=True)
    projects = serializers.DictField(child=serializers.CharField(), help_text="Short name → your role.")
    lab_roles = LabRoleOutput(many=True)


class Me(ApiView):
    """The asker."""

    access = {"GET": LOGGED_IN}

    @extend_schema(operation_id="me", responses=MeOutput, tags=_TAG)
    def get(self, request: Request) -> Response:
        """Tell who you are, and what your credential is good for."""
        user = asker(request)
        token = request.auth if isinstance(request.auth, Token) else None
        memberships = Membership.objects.filter(user=user, project__in=Project.objects.visible_to(user))
        answer = {
            "username": user.username,
            "email": user.email,
            "scopes": token.scopes if token else Scope.values,
            "token": token,
            "projects": dict(memberships.values_list("project__slug", "role")),
            "lab_roles": [row for row in map(user.lab_role, LabRole.Role.values) if row is not None],
        }
        return Response(MeOutput(answer).data)


def _projects(user: Any) -> Any:
    members = Membership.objects.select_related("user").order_by("user__username")
    return Project.objects.visible_to(user).prefetch_related(Prefetch("memberships", members)).order_by("slug")


class Projects(ApiView):
    """The asker's projects."""

    access = {"GET": LOGGED_IN, "POST": needs(Scope.ADMIN)}

    @extend_schema(operation_id="projects_list", responses=ProjectOutput(many=True), tags=_TAG)
    def get(self, request: Request) -> Response:
        """List the projects of which you are a member."""
        return Response(ProjectOutput(_projects(request.user), many=True).data)

    @extend_schema(operation_id="projects_create", request=ProjectInput, responses={201: ProjectOutput}, tags=_TAG)
    def post(self, request: Request) -> Response:
        """Create a shared project, with yourself as its admin."""
        wish = body(ProjectInput, request)
        require(asker(request).only_project_id is None, "This token works for one project alone.")
        try:
            project = services.create_project(asker(request), wish["slug"], wish["name"])
        except services.AccountError as error:
            raise invalid((f"/{error.path}", str(error))) from error
        return Response(ProjectOutput(_projects(request.user).get(pk=project.pk)).data, status=201)


class ProjectDetail(ApiView):
    """One project."""

    access = {"GET": LOGGED_IN}

    @extend_schema(operation_id="projects_get", responses=ProjectOutput, tags=_TAG)
    def get(self, request: Request, slug: str) -> Response:
        """Show a project and its members."""
        return Response(ProjectOutput(get_object_or_404(_projects(request.user), slug=slug)).data)


class Members(ApiView):
    """Members of a project."""

    access = {"POST": needs(Scope.ADMIN)}

    @extend_schema(operation_id="members_set", request=MemberInput, responses={200: MembershipOutput}, tags=_TAG)
    def post(self, request: Request, slug: str) -> Response:
        """Take somebody into a project, or give another role."""
        project = _administered(request, slug)
        wish = body(MemberInput, request)
        try:
            membership = services.add_member(project, wish["username"], wish["role"])
        except services.AccountError as error:
            raise invalid((f"/{error.path}", str(error))) from error
        return Response(MembershipOutput(membership).data)


class MemberDetail(ApiView):
    """One member of a project."""

    access = {"DELETE": needs(Scope.ADMIN)}
    problems = {"DELETE": (409,)}

    @extend_schema(operation_id="members_remove", responses={204: None}, tags=_TAG)
    def delete(self, request: Request, slug: str, username: str) -> Response:
        """Take somebody out of a project. Tokens for it stop at once."""
        project = _administered(request, slug)
        membership = get_object_or_404(project.memberships, user__username=username)
        try:
            services.remove_member(project, membership.user)
        except services.AccountError as error:
            raise Problem(409, "last-admin", str(error)) from error
        return Response(status=204)


def _administered(request: Request, slug: str) -> Project:
    project = get_object_or_404(Project.objects.visible_to(request.user), slug=slug)
    require(project_role(asker(request), project) == ProjectRole.ADMIN, "Only an admin of the project may do this.")
    return project


urlpatterns = [
    path("tokens", Tokens.as_view()),
    path("tokens/<uuid:token_id>", TokenDetail.as_view()),
    path("me", Me.as_view()),
    path("projects", Projects.as_view()),
    path("projects/<slug:slug>", ProjectDetail.as_view()),
    path("projects/<slug:slug>/members", Members.as_view()),
    path("projects/<slug:slug>/members/<str:username>", MemberDetail.as_view()),
]
