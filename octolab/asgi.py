"""The ASGI application for uvicorn; :func:`octolab.stack.layout.web_command` is how it is started."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "octolab.settings")
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter  # noqa: E402

from .handler import Handler  # noqa: E402
from .live.routing import websocket_application  # noqa: E402
from .throttle import Throttle  # noqa: E402

application = Throttle(ProtocolTypeRouter({"http": Handler(), "websocket": websocket_application}))
