"""Commands about oneself: logging in and out, and tokens."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from octolab.client import NotAuthenticatedError, Octolab

from . import credentials, show
from .base import AsJson, app, open_lab, out, print_answer

USUAL_SCOPES = ("jobs:read", "jobs:write", "results:read", "devices:read")

tokens_app = typer.Typer(help="List and revoke your tokens.", no_args_is_help=True)
app.add_typer(tokens_app, name="tokens", rich_help_panel="You")


@app.command()
def login(
    url: Annotated[str | None, typer.Argument(help="Address of the server.")] = None,
    username: Annotated[str, typer.Option("--user", "-u", prompt="User name")] = "",
    operate: Annotated[
        bool, typer.Option("--operate", help="For operators: may also change things at the bench.")
    ] = False,
) -> None:
    """Make a token with name and password, and keep it for later commands."""
    address = (url or credentials.load().url).rstrip("/")
    password = typer.prompt("Password", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    with Octolab(address, token="") as lab:
        scopes = (*USUAL_SCOPES, "devices:control") if operate else None
        token = lab.login(username, password, name="octolab command", scopes=scopes)
        file = credentials.keep(credentials.Credentials(address, token))
    out.print(f"Logged in at {address} as {username}; the token is kept in {file}", soft_wrap=True)


@app.command()
def logout() -> None:
    """Revoke the kept token and forget it."""
    kept = credentials.load()
    try:
        with Octolab(kept.url, kept.token) as lab:
            if (token := lab.me()["token"]) is not None:
                lab.revoke(token["id"])
    except NotAuthenticatedError:
        pass  # it does not work any more, which is what is wanted
    out.print("Logged out." if credentials.forget() else "There was no kept token.")


@tokens_app.command("list")
def tokens_list(as_json: AsJson = False) -> None:
    """List your tokens."""
    with open_lab() as lab:
        headings = ("id", "name", "scopes", "expires", "last used")
        keys = ("id", "name", "scopes", "expires_at", "last_used_at")
        print_answer(
            lab.tokens(), as_json, lambda found: show.grid(headings, ([t[key] for key in keys] for t in found))
        )


@tokens_app.command("revoke")
def tokens_revoke(token_id: str) -> None:
    """Revoke a token."""
    with open_lab() as lab:
        lab.revoke(token_id)
    out.print(f"Token {token_id} does not work any more.")
