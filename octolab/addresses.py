"""Where a request comes from."""

from __future__ import annotations

from ipaddress import ip_address

from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """Return the client's IP address, or None if there is none (a Unix socket).

    Only what the server says counts: uvicorn replaces it by ``X-Forwarded-For`` of the proxies that it was told to
    trust. A header that any client can write is never read here.
    """
    text = request.META.get("REMOTE_ADDR") or ""
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def is_local(request: HttpRequest) -> bool:
    """Tell whether the request was made on this machine and came through no proxy."""
    address = client_address(request)
    forwarded = "HTTP_X_FORWARDED_FOR" in request.META or "HTTP_FORWARDED" in request.META
    return address is not None and ip_address(address).is_loopback and not forwarded
