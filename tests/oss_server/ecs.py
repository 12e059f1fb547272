"""The metadata service of an ECS instance, as far as it gives the keys of its RAM role. On loopback.

    with ecs_serving(oss) as ecs:
        … GET {ecs.endpoint}/latest/meta-data/ram/security-credentials/{ecs.role}

Each answer has a new temporary key of the OSS server, so a test sees whether a client asks again in time.
"""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.oss_server import xml
from tests.oss_server.server import ADDRESS, OssServer

TOKEN_PATH = "/latest/api/token"
ROLE_PATH = "/latest/meta-data/ram/security-credentials/"
TTL_HEADER, TOKEN_HEADER = "X-aliyun-ecs-metadata-token-ttl-seconds", "X-aliyun-ecs-metadata-token"
TTL_MAX_S = 21600  # OSS's documentation of the metadata service


class Ecs:
    """What a test holds; all may be changed at any time.

    has_tokens    False: only version 1 (IMDSv1) is there, which knows no tokens
    needs_token   hardened mode (IMDSv2): nothing without a token of `PUT /latest/api/token`
    role          "": the instance has none (404)
    status        another than 200: the answer to everything
    life_s        how long the keys are good
    asked         "METHOD path", one per request
    """

    def __init__(self, oss: OssServer) -> None:
        self.oss = oss
        self.role, self.needs_token, self.status, self.life_s = "role-of-the-test", True, 200, 3600.0
        self.has_tokens = True
        self.asked: list[str] = []
        self.endpoint = ""
        self._tokens: dict[str, float] = {}  # token -> good until, wall clock

    def answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """Status and body."""
        self.asked.append(f"{method} {path}")
        now_s = self.oss.clock.wall_s()
        if self.status != 200:
            return self.status, "not now"
        if (method, path) == ("PUT", TOKEN_PATH) and self.has_tokens:
            ttl = headers.get(TTL_HEADER.lower(), "")
            if not ttl.isdigit() or not 1 <= int(ttl) <= TTL_MAX_S:
                return 400, "the time to live is missing or out of range"
            token = secrets.token_hex(16)
            self._tokens[token] = now_s + int(ttl)
            return 200, token
        if method != "GET":
            return 405, "not allowed"
        token = headers.get(TOKEN_HEADER.lower(), "")
        if (token or self.needs_token) and self._tokens.get(token, 0.0) <= now_s:
            return 403, "the token is missing or no longer good"
        if self.role and path in (ROLE_PATH, ROLE_PATH.rstrip("/")):
            return 200, self.role
        return (200, self._credentials()) if self.role and path == ROLE_PATH + self.role else (404, "nothing here")

    def _credentials(self) -> str:
        key = self.oss.issue_key(life_s=self.life_s)
        written = {
            "AccessKeyId": key.key_id,
            "AccessKeySecret": key.secret,
            "SecurityToken": key.token,
            "Expiration": xml.iso_time(key.expires_s).replace(".000Z", "Z"),
            "LastUpdated": xml.iso_time(key.expires_s - self.life_s).replace(".000Z", "Z"),
            "Code": "Success",
        }
        return json.dumps(written)


@contextmanager
def ecs_serving(oss: OssServer, *, address: str = ADDRESS, port: int = 0) -> Iterator[Ecs]:
    ecs = Ecs(oss)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, text = ecs.answer(self.command, self.path, headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_PUT = do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer((address, port), Handler) as server:
        ecs.endpoint = f"http://{address}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield ecs
        finally:
            server.shutdown()
            thread.join()
