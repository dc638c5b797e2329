"""A chat service for tests: a real HTTP server that answers as it is told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Chat:
    """Takes webhooks; ``answers`` are the statuses of the next ones, then 200. ``hang`` makes it never answer."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.location = ""
        self.messages: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.calls = 0
        self.let_go = threading.Event()
        self.let_go.set()
        self.arrived = threading.Condition()
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with chat.arrived:
                    chat.calls += 1
                    status = chat.answers.pop(0) if chat.answers else 200
                    chat.headers.append(dict(self.headers))
                    if status == 200:
                        chat.messages.append(body)
                    chat.arrived.notify_all()
                chat.let_go.wait(30)
                try:
                    self.send_response(status)
                    if chat.location:
                        self.send_header("Location", chat.location)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass  # who called has given up

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def url(self, host: str = "127.0.0.1") -> str:
        """Return a channel's URL that leads here; it holds a secret."""
        return f"json://robot:hunter2@{host}:{self.port}/hook"

    def hang(self) -> None:
        """Take calls from now on, but never answer."""
        self.let_go.clear()

    def wait_for(self, calls: int, timeout_s: float = 30.0) -> None:
        """Wait until so many calls have arrived in all."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.calls >= calls, timeout_s), f"only {self.calls} calls"

    def close(self) -> None:
        """Stop serving."""
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
