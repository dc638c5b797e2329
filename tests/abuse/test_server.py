"""The holes that servers of this kind have had, tried from outside at the real web process."""

from __future__ import annotations

import io
import json
import pickle
import re
import subprocess
import sys
import uuid
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.abuse.conftest import As, sign_in
from tests.abuse.raw import exchange, get, status_of
from tests.prepare_web import PASSWORD
from tests.web import ROOT, WebServer

NOOP: dict[str, Any] = {"name": "Nothing", "workflow": [{"task": "virtual.noop"}]}
SOMEBODY_ELSE = {"X-User": "ben", "X-Forwarded-User": "ben", "Remote-User": "ben", "X-Remote-User": "ben"}


def socket_of(server: WebServer, query: str = "", **headers: str) -> ClientConnection:
    """Open the event stream; a header ``origin`` is sent as ``Origin``."""
    address = f"ws://127.0.0.1:{server.port}/ws/events{query}"
    return connect(address, additional_headers=headers, open_timeout=20, proxy=None)


def said(connection: ClientConnection, *, within_s: float = 2.0) -> list[dict[str, Any]]:
    """Return everything that a socket says until it is quiet; the last is the code if it was closed."""
    messages: list[dict[str, Any]] = []
    try:
        while True:
            messages.append(json.loads(connection.recv(timeout=within_s)))
    except TimeoutError:
        return messages
    except ConnectionClosed as closed:
        return [*messages, {"closed": closed.rcvd and closed.rcvd.code}]


# --- whose job it is


def test_owner_is_never_taken_from_what_is_sent(server: WebServer, by_token: As) -> None:
    ann = by_token("ann")
    for field in ("owner", "owner_id", "user", "username", "submitted_by", "actor"):
        assert ann.post("/jobs", json={**NOOP, field: "ben"}).status_code == 422
        yaml = f"name: x\n{field}: ben\nworkflow: [{{task: virtual.noop}}]"
        assert ann.post("/jobs", content=yaml, headers={"Content-Type": "application/yaml"}).status_code == 422
    made = ann.post("/jobs?owner=ben&user=ben", json=NOOP, headers=SOMEBODY_ELSE)
    if made.status_code == 202:
        assert made.json()["owner"] == "ann"
    else:
        assert made.status_code == 422
    assert ann.post("/jobs", json={**NOOP, "project": "ben"}).status_code == 422
    assert ann.get("/me", headers=SOMEBODY_ELSE).json()["username"] == "ann"


def test_another_user_s_job_by_id(server: WebServer, by_token: As, at_browser: As) -> None:
    theirs = server.people["ben"]
    ways = ("", "/logs", "/metrics", "/verbs", "/standing", "/results", "/results.csv", "/files")
    for way in ways:
        assert by_token("ben").get(f"/jobs/{theirs['job']}{way}").status_code == 200, way
        for job in (theirs["job"], theirs["job"].upper(), theirs["job"].replace("-", "")):
            refused = by_token("ann").get(f"/jobs/{job}{way}")
            assert refused.status_code == 404
            assert theirs["marker"] not in refused.text
    for verb in ("cancel", "hold", "release", "pause", "resume", "stop", "abort", "rerun"):
        assert by_token("ann").post(f"/jobs/{theirs['job']}/{verb}", json={}).status_code == 404
    assert by_token("ann").patch(f"/jobs/{theirs['job']}", json={"priority": 3}).status_code == 404
    assert by_token("ann").get(f"/samples/{theirs['sample']}").status_code == 404
    assert by_token("ann").get(f"/channels/{theirs['channel']}").status_code == 404
    assert by_token("ann").delete(f"/tokens/{theirs['other_token']}").status_code == 404
    for page in (f"/jobs/{theirs['job']}", f"/jobs/{theirs['job']}/part/status", "/", "/jobs", "/accounting"):
        shown = at_browser("ann").get(page)
        assert shown.status_code == (404 if theirs["job"] in page else 200)
        assert theirs["marker"] not in shown.text


def test_another_user_s_file(server: WebServer, by_token: As) -> None:
    theirs, mine = server.people["ben"], server.people["ann"]
    own = by_token("ben").get(f"/jobs/{theirs['job']}/files/{theirs['file']}")
    assert own.content.startswith(b"\x89HDF")
    for job in (theirs["job"], mine["job"]):
        assert by_token("ann").get(f"/jobs/{job}/files/{theirs['file']}").status_code == 404
        assert by_token("ann").get(f"/jobs/{job}/arrays/{theirs['file']}").status_code == 404
    assert httpx.get(f"{server.url}/api/v1/jobs/{theirs['job']}/files/{theirs['file']}").status_code == 401


def test_another_user_s_job_in_the_event_stream(server: WebServer, by_token: As) -> None:
    theirs = server.people["ben"]
    for query in ("", "?since=0", f"?job={theirs['job']}", f"?limit=1000&job={theirs['job']}"):
        found = by_token("ann").get(f"/events{query}")
        assert found.status_code == 200
        assert theirs["marker"] not in found.text
        assert theirs["job"] not in found.text
    assert theirs["marker"] in by_token("ben").get("/events").text


def test_another_user_s_job_by_socket(server: WebServer) -> None:
    theirs = server.people["ben"]
    seen = {}
    for name in ("ann", "ben"):
        for query in ("?since=0", f"?since=0&job={theirs['job']}"):
            token = server.people[name]["token"]
            with socket_of(server, query, Authorization=f"Bearer {token}") as connection:
                seen[name, query] = json.dumps(said(connection))
    for (name, query), text in seen.items():
        assert (theirs["marker"] in text) == (name == "ben"), query
        assert (theirs["job"] in text) == (name == "ben"), query


# --- paths


@pytest.mark.parametrize(
    "up", ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..\\", "..%252f", "..;/", "%c0%ae%c0%ae/"]
)
def test_path_traversal_leads_nowhere(server: WebServer, up: str) -> None:
    mine = server.people["ann"]
    wanted = ("octolab.sqlite3", "etc/passwd", "log", "raw")
    for base in ("/static/", "/static/octolab/", f"/api/v1/jobs/{mine['job']}/files/", "/examples/", "/api/v1/jobs/"):
        for name in wanted:
            target = base + up * (8 if name.startswith("etc") else base.count("/")) + name
            answer = get(server, target, f"Authorization: Bearer {mine['token']}")
            assert status_of(answer) in {302, 400, 401, 404, 405}, target
            assert b"SQLite format" not in answer
            assert b"root:" not in answer
    for name in ("/etc/passwd", "%2fetc%2fpasswd", "file:%2f%2f%2fetc%2fpasswd", "a%00.nxs", "."):
        answer = get(server, f"/api/v1/jobs/{mine['job']}/files/{name}", f"Authorization: Bearer {mine['token']}")
        assert status_of(answer) in {400, 404}, name


def test_path_traversal_by_a_name_that_is_sent(server: WebServer, by_token: As) -> None:
    before = {path.name for path in server.directory.parent.iterdir()}
    for slug in ("../evil", "..", "/evil", "a/../../evil", "..\\evil", "evil\x00"):
        assert by_token("ann").post("/projects", json={"slug": slug}).status_code in {400, 422}
        assert by_token("ann").post("/jobs", json={**NOOP, "project": slug}).status_code in {400, 422}
    for name in ("../../evil", "/etc/passwd", "..\\..\\evil", "a/b/c"):
        made = by_token("ann").post("/jobs", json={**NOOP, "name": name})
        assert made.status_code in {202, 422}
    assert {path.name for path in server.directory.parent.iterdir()} == before
    assert not list(server.directory.rglob("*evil*"))


def test_the_name_of_a_download_holds_nothing_that_a_user_wrote(server: WebServer, by_token: As) -> None:
    """Job, project and sample have the victim's marker for a name; what a browser would save is told without it."""
    mine = server.people["ann"]
    for way in (f"/jobs/{mine['job']}/files/{mine['file']}", f"/jobs/{mine['job']}/files/job.nxs",
                f"/jobs/{mine['job']}/results.csv", "/accounting.csv"):  # fmt: skip
        answer = by_token("ann").get(way)
        assert answer.status_code == 200, way
        name = answer.headers["content-disposition"]
        assert re.fullmatch(r'attachment; filename="[A-Za-z0-9._-]+"', name), name
        assert mine["marker"] not in name


def test_the_names_in_an_archive_lead_nowhere_and_are_no_user_s(server: WebServer, at_browser: As) -> None:
    mine, theirs = server.people["ann"], server.people["ben"]
    assert at_browser("ann").get(f"/jobs/{theirs['job']}/everything.zip").status_code == 404
    answer = at_browser("ann").get(f"/jobs/{mine['job']}/everything.zip")
    assert re.fullmatch(r'attachment; filename="[0-9a-f-]+(-simulated)?\.zip"', answer.headers["content-disposition"])
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        told = b"".join(map(archive.read, names))
    assert f"files/{mine['file']}" in names
    for name in names:
        assert re.fullmatch(r"(files/)?[A-Za-z0-9_-][A-Za-z0-9._-]*", name), name
        assert mine["marker"] not in name
    assert mine["marker"].encode() in told
    assert theirs["marker"].encode() not in told


# --- objects, not data


class _Owned:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_pickles_are_not_read(server: WebServer, by_token: As, at_browser: As, tmp_path: Path) -> None:
    bomb = tmp_path / "owned"
    data = pickle.dumps(_Owned(bomb))
    for media_type in (
        "application/x-pickle",
        "application/octet-stream",
        "application/python-pickle",
        "application/json",
    ):
        answer = by_token("ann").post("/jobs", content=data, headers={"Content-Type": media_type})
        assert answer.status_code in {400, 415}
    cookie = {"sessionid": data.hex(), "messages": data.hex()}
    assert httpx.get(f"{server.url}/api/v1/me", cookies=cookie).status_code == 401
    assert not bomb.exists()
    pickle.loads(data)
    assert bomb.exists(), "the bomb would have worked"


def test_yaml_tags_make_no_objects(server: WebServer, by_token: As, tmp_path: Path) -> None:
    bomb = tmp_path / "owned"
    for tag in (
        f"!!python/object/apply:pathlib.Path.touch ['{bomb}']",
        f"!!python/object/apply:os.system ['touch {bomb}']",
        f"!!python/object/new:subprocess.Popen [['touch', '{bomb}']]",
        "!!python/name:os.system",
        "!<tag:yaml.org,2002:python/module:os> x",
        "!!binary aGk=",
        "!!set {a, b}",
        "! x",
    ):
        for text in (f"name: {tag}\nworkflow: [{{task: virtual.noop}}]", f"{tag}", f"workflow: {tag}"):
            for way in ("/jobs", "/jobs/preview"):
                yaml = {"Content-Type": "application/yaml"}
                assert by_token("ann").post(way, content=text, headers=yaml).status_code == 422, text
            assert by_token("ann").post("/jobs", json={"document": text}).status_code == 422
    assert not bomb.exists()


# --- rights that have ended, and rights that were never there


def test_an_inactive_user_s_token_session_and_socket_stop_at_once(server: WebServer) -> None:
    environment = {**server.environment, "PATH": "/usr/bin:/bin"}
    code = (
        "import django, json; django.setup()\n"
        "from users import services\nfrom tests.prepare_web import PASSWORD\n"
        "user = services.create_user('gone', PASSWORD)\nprint(services.create_token(user)[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    token = {"Authorization": f"Bearer {done.stdout.strip()}"}
    with httpx.Client(base_url=server.url, timeout=60) as session:
        sign_in(session, "gone")
        assert session.get("/api/v1/me").status_code == 200
        assert httpx.get(f"{server.url}/api/v1/me", headers=token).status_code == 200
        with socket_of(server, **token) as connection:
            assert json.loads(connection.recv(timeout=20))["type"] == "hello"
            code = "import django; django.setup()\nfrom users import services\nfrom users.models import User\n"
            code += "services.deactivate(User.objects.get(username='gone'))"
            subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
            assert httpx.get(f"{server.url}/api/v1/me", headers=token).status_code == 401
            assert session.get("/api/v1/me").status_code == 401
            assert session.get("/account").status_code == 302
            assert said(connection, within_s=20)[-1] == {"closed": 4401}
        with socket_of(server, **token) as connection:
            assert said(connection, within_s=20) == [{"closed": 4401}]
        sign_in(session, "gone")
        assert session.get("/api/v1/me").status_code == 401
    wish = {"username": "gone", "password": PASSWORD}
    assert httpx.post(f"{server.url}/api/v1/tokens", json=wish, timeout=60).status_code == 401


def test_operator_verbs_are_for_operators(server: WebServer, by_token: As, at_browser: As) -> None:
    step, sample = server.people["ben"]["step"], server.people["ben"]["sample"]
    verbs: list[tuple[str, dict[str, Any]]] = [
        (f"/steps/{step}/decide", {"decision": "done", "note": "trust me"}),
        ("/stocks/vials/refill", {"level": 1}),
        ("/devices/virtual_1/clear", {"note": "fine"}),
        ("/modules/virtual/run", {"task": "noop"}),
        ("/maintenance", {"target": "virtual_1", "reason": "mine"}),
        ("/estop/rearm", {"scope": "lab", "note": "x"}),
        ("/interlocks/x/acknowledge", {"note": "x"}),
        (f"/jobs/{server.people['ben']['job']}/halt", {}),
        (f"/jobs/{server.people['ben']['job']}/approve", {}),
    ]
    tricks: list[dict[str, str]] = [
        {},
        {"X-HTTP-Method-Override": "POST"},
        {"X-Original-URL": "/api/v1/me"},
        SOMEBODY_ELSE,
    ]
    for who in ("ann", "ben", "ada"):
        for path, body in verbs:
            for trick in tricks:
                assert by_token(who).post(path, json=body, headers=trick).status_code in {403, 404}, (who, path)
            for method in ("PUT", "PATCH", "DELETE", "TRACE"):
                assert by_token(who).request(method, path).status_code in {403, 404, 405}
            doubled = path.replace("/", "//", 1)
            assert by_token(who).post(f"{server.url}/api/v1{doubled}", json=body).status_code in {403, 404}
        assert by_token(who).post(f"/samples/{sample}/collect", json={}).status_code in (
            {202} if who == "ben" else {404}
        )
        page = at_browser(who)
        csrf = {"X-CSRFToken": page.cookies["csrftoken"]}
        for target, form in (
            (f"/operator/steps/{step}/decide", {"decision": "done", "note": "x"}),
            ("/operator/devices/virtual_1/clear", {"note": "x"}),
            ("/operator/lock", {"target": "virtual_1", "reason": "x"}),
            ("/estop/rearm", {"scope": "lab", "note": "x"}),
        ):
            assert page.post(target, data=form, headers=csrf).status_code in {403, 404}, (who, target)
    for who in ("ann", "olga"):
        for method, path in (("GET", "/audit"), ("PATCH", "/lab/policy"), ("PUT", "/quotas/users/ann")):
            assert by_token(who).request(method, path, json={}).status_code == 403
        for page_path in ("/admin", "/admin/audit"):
            assert at_browser(who).get(page_path).status_code == 404


# --- headers and logs


@pytest.mark.parametrize(
    "evil", ["\r\nX-Evil: 1", "\nX-Evil: 1", "\r\n\r\n<script>", "%0d%0aX-Evil:%201", "\u560a\u560dX-Evil: 1"]
)
def test_headers_cannot_be_injected(server: WebServer, by_token: As, evil: str) -> None:
    ann = by_token("ann")
    answers = [
        ann.post("/jobs", json={**NOOP, "name": f"a{evil}"}),
        ann.post("/projects", json={"slug": f"a{evil}"}),
        ann.get("/jobs", params={"text": f"a{evil}"}),
        ann.get(f"/jobs/{server.people['ann']['job']}/files/a{evil}".replace("\r", "%0d").replace("\n", "%0a")),
        httpx.get(f"{server.url}/login", params={"next": f"/{evil}"}),
        httpx.get(f"{server.url}/jobs", params={"x": evil}),
    ]
    for answer in answers:
        assert answer.status_code < 500
        assert not [name for name in answer.headers if "evil" in name.lower()]
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {ann.headers['Authorization']}\r\n"
    head += f"Idempotency-Key: a{evil}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    head += "Connection: close\r\n\r\n{}"
    assert b"x-evil" not in exchange(server, head.encode("utf-8")).lower()


def test_requests_cannot_be_smuggled(server: WebServer) -> None:
    head = b"POST /api/v1/tokens HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    hidden = b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for framing in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Content-Length: +5\r\n",
    ):
        answer = exchange(server, head + framing + b"\r\n0\r\n\r\n" + hidden)
        assert status_of(answer) == 400, framing
        assert b'"ready"' not in answer


def test_log_lines_cannot_be_forged_and_hold_no_secret(server: WebServer, by_token: As) -> None:
    forged = "2026-01-01 00:00:00 CRITICAL octolab forged"
    token = server.people["ann"]["token"]
    get(server, f"/api/v1/x%0d%0a{forged.replace(' ', '%20')}%1b[2J?token={token}&password=hunter2hunter2")
    get(server, "/api/v1/nothing", f"User-Agent: a\x1b[2J{forged}", f"Referer: http://x/{token}")
    by_token("ann").post("/jobs", json={**NOOP, "name": f"x\n{forged}"})
    with closing(httpx.Client(base_url=server.url, timeout=60)) as client:
        sign_in(client, f"x\n{forged}", "hunter2hunter2")
    log = (server.directory / "log").read_text()
    assert not [line for line in log.splitlines() if line.startswith("2026-01-01 00:00:00 CRITICAL")]
    assert "\x1b" not in log
    for secret in (token, "hunter2hunter2", PASSWORD):
        assert secret not in log


# --- other sites


def test_a_foreign_page_cannot_use_the_session(server: WebServer, at_browser: As) -> None:
    ann = at_browser("ann")
    evil = {"Origin": "https://evil.example", "Referer": "https://evil.example/"}
    before = ann.get("/api/v1/jobs").json()["results"]
    for media_type in ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        for path in ("/api/v1/jobs", "/api/v1/estop", "/api/v1/projects"):
            answer = ann.post(path, content=json.dumps(NOOP), headers={**evil, "Content-Type": media_type})
            assert answer.status_code in {403, 415}
    csrf = {"csrfmiddlewaretoken": ann.cookies["csrftoken"]}
    for path in (
        "/account/tokens",
        "/estop",
        "/logout",
        "/account/sessions/",
        "/account/password/change/",
        "/jobs/new",
    ):
        assert ann.post(path, data={"name": "x"}).status_code == 403, f"{path} without the token"
        assert ann.post(path, data={"name": "x", **csrf}, headers=evil).status_code == 403, f"{path} from elsewhere"
    assert ann.get("/api/v1/me").status_code == 200, "still signed in"
    assert ann.get("/api/v1/jobs").json()["results"] == before
    assert "access-control-allow-origin" not in ann.get("/api/v1/me", headers=evil).headers


def test_signing_in_from_a_foreign_page_is_refused(server: WebServer) -> None:
    form = {"username": "ann", "password": PASSWORD}
    answer = httpx.post(f"{server.url}/login", data=form, headers={"Origin": "https://evil.example"}, timeout=60)
    assert answer.status_code == 403
    assert "sessionid" not in answer.cookies


@pytest.mark.parametrize(
    "target",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example",
     "javascript:alert(1)", "http:///evil.example", "/%09/evil.example", "\t//evil.example",
     "//127.0.0.1@evil.example"],
)  # fmt: skip
def test_nothing_redirects_elsewhere(server: WebServer, at_browser: As, target: str) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        answers = [sign_in(client, "ann", next=target)]
        csrf = {"csrfmiddlewaretoken": client.cookies["csrftoken"]}
        answers.append(client.post("/logout", data={"next": target, **csrf}))
    ann = at_browser("ann")
    answers += [
        ann.get(path, params={"next": target}) for path in ("/login", "/account/signup/", "/account/reauthenticate/")
    ]
    answers += [httpx.get(f"{server.url}{path}", params={"next": target}) for path in ("/login", "/jobs", "/account")]
    for answer in answers:
        where = answer.headers.get("location", "/")
        assert re.match(r"/(?![/\\\t])", where), where
    for path in ("//evil.example/%2e%2e", "/\\evil.example", "//evil.example/jobs/", "/login//evil.example"):
        assert b"\nlocation: //" not in get(server, path).lower()
        assert b"\nlocation: http" not in get(server, path).lower()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80@127.0.0.1", ""])
def test_a_foreign_host_name_is_refused(server: WebServer, host: str) -> None:
    for path in ("/login", "/api/v1/health", "/account/password/reset/"):
        answer = exchange(server, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert status_of(answer) == 400
        assert b"\nlocation:" not in answer.lower()


def test_a_websocket_counts_its_session_only_from_a_page_of_this_server(server: WebServer, at_browser: As) -> None:
    cookie = f"sessionid={at_browser('ann').cookies['sessionid']}"
    port = server.port
    with socket_of(server, Cookie=cookie, Origin=f"http://127.0.0.1:{port}") as connection:
        assert json.loads(connection.recv(timeout=20))["type"] == "hello"
    foreign = ("https://evil.example", "null", f"http://127.0.0.1:{port + 1}", f"http://127.0.0.1.evil.example:{port}",
               f"http://evil.example/http://127.0.0.1:{port}", f"file://127.0.0.1:{port}", "")  # fmt: skip
    for origin in foreign:
        with socket_of(server, Cookie=cookie, Origin=origin) as connection:
            assert said(connection, within_s=20) == [{"closed": 4401}], origin
    with socket_of(server, Cookie=cookie) as connection:
        assert said(connection, within_s=20) == [{"closed": 4401}], "without Origin"
    with socket_of(server, f"?token={server.people['ann']['token']}") as connection:
        assert said(connection, within_s=20) == [{"closed": 4401}], "a token in the address"


@pytest.mark.parametrize(
    "query",
    ["?since=99999999999999999999999", "?since=-99999999999999999999999", "?since=1e5", "?since=%ff%fe", "?job=%00",
     "?job=../../x", "?since=" + "9" * 5000, "?since=0&since=1&job=&job=x"],
)  # fmt: skip
def test_a_websocket_takes_any_nonsense(server: WebServer, query: str) -> None:
    token = f"Bearer {server.people['ann']['token']}"
    log = server.directory / "log"
    before = log.read_text()
    with socket_of(server, query, Authorization=token) as connection:
        assert json.loads(connection.recv(timeout=20))["type"] == "hello"
        for nonsense in ("not json", "[" * 4000, b"\x00\xff", '{"type": "websocket.close"}'):
            connection.send(nonsense)
        assert not [message for message in said(connection, within_s=0.3) if "closed" in message]
    assert "Traceback" not in log.read_text().removeprefix(before)


def test_no_one_project_s_marker_in_another_s_export(server: WebServer, by_token: As) -> None:
    for path in (
        "/accounting",
        "/accounting.csv",
        "/plan",
        "/storage",
        "/devices",
        "/operator/attention",
        "/quotas",
        "/stocks",
    ):
        assert server.people["ben"]["marker"] not in by_token("ann").get(path).text, path


def test_nobody_guesses_an_id(server: WebServer, by_token: As) -> None:
    """What exists for somebody else and what does not exist at all are answered alike, to the letter."""
    theirs = server.people["ben"]["job"]
    nobody_s = str(uuid.UUID(int=uuid.UUID(theirs).int ^ 1))
    for way in ("", "/logs", "/results", "/files"):
        there, not_there = (by_token("ann").get(f"/jobs/{job}{way}") for job in (theirs, nobody_s))
        assert there.text.replace(theirs, "") == not_there.text.replace(nobody_s, "")
        assert {*there.headers} == {*not_there.headers}
