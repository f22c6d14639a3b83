"""An HTTP proxy before an S3 server that counts what is asked and misbehaves as it is told.

    with FaultyProxy(swift.endpoint) as proxy:
        proxy.rules.append(cut(after=1000, kind="get", times=2))  # the first two bodies end early, the third is whole
        client = swift.client(proxy.endpoint)
        ...
        assert proxy.counts()["get"] == 3

The Host header is passed on as the client sent it, so that signatures, which cover it, stay valid.
"""

import http.client
import http.server
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

Kind = Literal["list", "get", "put", "copy", "head", "delete", "multipart", "bucket"]

# Headers that concern one connection alone. The body is read whole, so that its length is known again on the other side.
OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length"}


@dataclass(frozen=True)
class Request:
    """One request as it came in.

    Attributes:
        method: of HTTP.
        kind: what it means in S3; parts of a multipart upload count as `put` and `copy`, its beginning, end and abort as `multipart`.
        bucket: the first part of the path; the proxy knows no other way of naming it.
        key: decoded; empty for requests about the bucket.
        query: decoded.
        headers: with names in lower case.
    """

    method: str
    kind: Kind
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass
class Rule:
    """What happens to requests that fit. Made by the functions below; of several that fit, the first one counts.

    Attributes:
        kind: requests it is for; all if None.
        key: what the key must contain.
        times: after so many requests it holds no longer; None = for ever.
        call: done before the request is passed on, such as changing the object behind the client's back.
        wait: seconds before anything else happens.
        status: answer with this and an S3 error document; nothing is passed on.
        code: of that document.
        hang_up: close the connection, before passing the request on or after the server has done it.
        cut: end the answer's body after so many bytes, whatever was announced.
        stall: seconds to wait at that place before going on.
    """

    kind: Kind | None = None
    key: str = ""
    times: int | None = None
    call: Callable[[Request], object] | None = None
    wait: float = 0
    status: int = 0
    code: str = ""
    hang_up: Literal["", "before", "after"] = ""
    cut: int | None = None
    stall: float = 0
    used: int = field(default=0, init=False)

    def fits(self, request: Request) -> bool:
        """Whether it is for this request and not yet used up."""
        return self.kind in (None, request.kind) and self.key in request.key and (self.times is None or self.used < self.times)


def cut(after: int, **whom: Any) -> Rule:
    """The answer's body ends after so many bytes, though its length says more."""
    return Rule(cut=after, **whom)


def answer(status: int, code: str, **whom: Any) -> Rule:
    """The proxy answers itself with an S3 error, such as `503, "SlowDown"`. With status 200 as AWS does for a copy that failed late."""
    return Rule(status=status, code=code, **whom)


def delay(seconds: float, **whom: Any) -> Rule:
    """The answer comes later."""
    return Rule(wait=seconds, **whom)


def stall(seconds: float, after: int = 0, **whom: Any) -> Rule:
    """The answer's body stops in the middle for so long, then the connection ends."""
    return Rule(cut=after, stall=seconds, **whom)


def hang_up(when: Literal["before", "after"] = "before", **whom: Any) -> Rule:
    """The connection closes without an answer; with `after`, what was asked for has been done all the same."""
    return Rule(hang_up=when, **whom)


def call(function: Callable[[Request], object], **whom: Any) -> Rule:
    """Something happens between the client's sending of a request and the server's receiving it."""
    return Rule(call=function, **whom)


class FaultyProxy:
    """Stands before a server while its context is open.

    Attributes:
        endpoint: the URL to give to clients instead of the server's.
        rules: what goes wrong; may be changed at any time.
        requests: all that came in, in order.
    """

    def __init__(self, upstream_endpoint: str) -> None:
        parts = urlsplit(upstream_endpoint)
        self.upstream = (str(parts.hostname), int(parts.port or 80))
        self.rules: list[Rule] = []
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self._server = self._listen(0)
        self.port = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.refuse()

    def counts(self) -> Counter[str]:
        """How many requests of each kind there were."""
        with self.lock:
            return Counter(request.kind for request in self.requests)

    def refuse(self) -> None:
        """Close the port and every connection: from now on clients are refused."""
        self._server.shutdown()
        self._server.server_close()
        self._server.close_connections()

    def accept(self) -> None:
        """Open the same port again."""
        self._server = self._listen(self.port)

    def take_rule(self, request: Request) -> Rule:
        """Note a request and give the rule it falls under; one without effect if there is none."""
        with self.lock:
            self.requests.append(request)
            for rule in self.rules:
                if rule.fits(request):
                    rule.used += 1
                    return rule
        return Rule()

    def _listen(self, port: int) -> "_Server":
        server = _Server(("127.0.0.1", port), self)
        # The default of half a second between looks for the end would be most of a short test.
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server


class _Server(http.server.ThreadingHTTPServer):
    """A thread for every connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], proxy: FaultyProxy) -> None:
        self.proxy = proxy
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.proxy.lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self.proxy.lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End what is still open; the threads that serve it end with it."""
        with self.proxy.lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has just ended by itself

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients and servers that go away in the middle are what this is for."""


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client, with one of its own to the server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # header and body leave in as few packets as they fit in
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._upstream = http.client.HTTPConnection(*self.server.proxy.upstream, timeout=120)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def handle_expect_100(self) -> bool:
        go_on = super().handle_expect_100()
        self.wfile.flush()  # the client holds its body back until it sees this
        return go_on

    def _serve(self) -> None:
        body = self._read_body()
        request = _understood(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        rule = self.server.proxy.take_rule(request)
        time.sleep(rule.wait)
        if rule.call:
            rule.call(request)
        if rule.hang_up == "before":
            self.close_connection = True
        elif rule.status:
            document = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{rule.code}</Code><Message>as told</Message></Error>"
            self._answer(rule.status, [("Content-Type", "application/xml")], document.encode())
        else:
            try:
                answer = self._pass_on(body)
                content = answer.read()
            except (OSError, http.client.HTTPException):
                self.close_connection = True  # the server is down: what a client of its own would see
                return
            if rule.hang_up:
                self.close_connection = True
            else:
                length = answer.getheader("Content-Length") if self.command == "HEAD" else None
                self._answer(answer.status, answer.getheaders(), content, rule, length)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _pass_on(self, body: bytes) -> http.client.HTTPResponse:
        self._upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in OF_THE_CONNECTION:
                self._upstream.putheader(name, value)
        if body or self.command in ("PUT", "POST"):
            self._upstream.putheader("Content-Length", str(len(body)))
        self._upstream.endheaders(body or None)
        return self._upstream.getresponse()

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, rule: Rule | None = None, length: str | None = None
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in OF_THE_CONNECTION:
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if rule and rule.cut is not None and rule.cut < len(content):
            self.wfile.write(content[: rule.cut])
            self.wfile.flush()
            time.sleep(rule.stall)
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: `FaultyProxy.requests` holds it all."""


def _understood(method: str, target: str, headers: Mapping[str, str]) -> Request:
    """What a request means in S3, whose operations differ by method, query and headers."""
    parts = urlsplit(target)
    bucket, _, key = parts.path.lstrip("/").partition("/")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method, _kind(method, key, query, headers), unquote(bucket), unquote(key), query, headers)


def _kind(method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Kind:
    if not key:
        if method == "POST" and "delete" in query:
            return "delete"
        about_the_bucket = {"location", "versioning", "uploads", "policy", "acl"} & set(query)
        return "list" if method == "GET" and not about_the_bucket else "bucket"
    if method == "PUT":
        return "copy" if "x-amz-copy-source" in headers else "put"
    if method == "POST" or "uploadId" in query:
        return "multipart"
    kinds: dict[str, Kind] = {"GET": "get", "HEAD": "head", "DELETE": "delete"}
    return kinds[method]
