"""A server that describes images as OpenAI and Vertex AI do, and misbehaves as it is told.

    with CaptionServer() as server:
        server.answers += [refuse(429, after="1"), hang_up()]  # the third request is answered
        ...
        assert len(server.asked) == 3

It speaks the REST protocols of both, token exchange of a service account included, so that the real client libraries can be tested.
"""

import base64
import hashlib
import http.server
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from google.auth import jwt

OPENAI_KEY = "sk-lab-1f2e3d4c5b6a7988"
TOKEN = "ya29.lab-token-0a1b2c3d4e5f"
MAIL = "captions@lab.iam.gserviceaccount.com"
PROJECT, MODEL = "lab-project", "lab-model"


@dataclass(frozen=True)
class Question:
    """One request for a caption as it came in.

    Attributes:
        protocol: `openai` or `vertex`.
        path: of HTTP.
        authorization: the header.
        body: the JSON.
        image: the JPEG in it.
        prompt: the text in it.
        at: seconds of a clock.
    """

    protocol: str
    path: str
    authorization: str
    body: dict[str, Any]
    image: bytes
    prompt: str
    at: float


@dataclass(frozen=True)
class Answer:
    """What the server does with one request.

    Attributes:
        text: the caption; None gives one that names the image's content.
        finish: why the model stopped; empty for what each protocol calls an ordinary end.
        feedback: of Vertex: why the prompt is blocked.
        refusal: of OpenAI: what the model says instead.
        status: of HTTP.
        error: the text of an error.
        code: of an error of OpenAI.
        after: the header Retry-After.
        retry_info: of Vertex, such as `2s`.
        raw: the whole body.
        cut: bytes of the body that are sent of all that were announced.
        hang_up: close the connection instead.
        wait: what to wait for before anything is sent.
        kind: the content type.
    """

    text: str | None = None
    finish: str = ""
    feedback: str = ""
    refusal: str = ""
    status: int = 200
    error: str = ""
    code: str = ""
    after: str = ""
    retry_info: str = ""
    raw: bytes | None = None
    cut: int | None = None
    hang_up: bool = False
    wait: Callable[[], object] = field(default=lambda: None)
    kind: str = "application/json"


def say(text: str, **more: Any) -> Answer:
    """A caption."""
    return Answer(text, **more)


def refuse(status: int, **more: Any) -> Answer:
    """An error of HTTP."""
    return Answer(status=status, **more)


def hang_up() -> Answer:
    """The connection closes without an answer."""
    return Answer(hang_up=True)


def cut(after: int) -> Answer:
    """The connection closes within the answer."""
    return Answer(cut=after)


def slow(seconds: float) -> Answer:
    """The answer comes late."""
    return Answer(wait=lambda: time.sleep(seconds))


@cache
def _key() -> tuple[str, bytes]:
    """A private key and the certificate of its public part, both PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public


class CaptionServer:
    """Answers while its context is open.

    Attributes:
        endpoint: the URL; OpenAI's protocol is spoken below `/v1`.
        answers: what is done with the next requests, one each; after the last one all are answered well.
        always: what is done with those that `answers` holds nothing for.
        asked: all requests for captions, in order.
        tokens: how many tokens were given out.
        refuse_tokens: the status that requests for tokens are answered with; 0 for success.
        most_at_once: requests that were under way at the same time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()
        self._server = _Server(("127.0.0.1", 0), self)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        """Forget what was asked and what is to be done."""
        self.answers: deque[Answer] = deque()
        self.always = Answer()
        self.asked: list[Question] = []
        self.tokens = self.refuse_tokens = 0
        self.most_at_once = self._at_once = 0

    def service_account(self, path: Path, **changed: Any) -> Path:
        """Write the key file of a service account that gets its tokens here."""
        values = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "lab",
            "private_key": _key()[0],
            "client_email": MAIL,
            "client_id": "1",
            "token_uri": f"{self.endpoint}/token",
        }
        path.write_text(json.dumps(values | changed))
        return path

    def environment(self, folder: Path) -> dict[str, str]:
        """Variables that lead both clients here, and past what a developer has configured."""
        return {
            "OPENAI_API_KEY": OPENAI_KEY,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.service_account(folder / "key.json")),
            "GOOGLE_VERTEX_BASE_URL": self.endpoint,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def secrets(self) -> list[bytes]:
        """What may stand in no file."""
        middle = _key()[0].splitlines()[3]
        return [OPENAI_KEY.encode(), TOKEN.encode(), middle.encode()]

    def begin(self, question: Question) -> Answer:
        """Note a request and give what is done with it."""
        with self._lock:
            self.asked.append(question)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            return self.answers.popleft() if self.answers else self.always

    def end(self) -> None:
        """A request was dealt with."""
        with self._lock:
            self._at_once -= 1

    def give_token(self, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        """The answer to a request for a token: RFC 7523, checked as Google does."""
        if self.refuse_tokens:
            return self.refuse_tokens, {"error": "invalid_grant", "error_description": f"Invalid JWT Signature: {form['assertion'][0]}"}
        try:
            claims = jwt.decode(form["assertion"][0], certs=_key()[1], audience="https://oauth2.googleapis.com/token")
        except ValueError as error:
            return 400, {"error": "invalid_grant", "error_description": f"Invalid JWT Signature. {error}"}
        assert claims["iss"] == MAIL
        assert "https://www.googleapis.com/auth/cloud-platform" in claims["scope"]
        self.tokens += 1
        return 200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], lab: CaptionServer) -> None:
        self.lab = lab
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle are what this is for."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        lab, body = self.server.lab, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/token":
            status, values = lab.give_token(parse_qs(body.decode()))
            self._send(Answer(status=status), json.dumps(values).encode())
            return
        question = _understood(self.path, self.headers.get("Authorization", ""), json.loads(body))
        answer = lab.begin(question)
        try:
            answer.wait()
            right = {"openai": OPENAI_KEY, "vertex": TOKEN}[question.protocol]
            if question.authorization not in (f"Bearer {right}", "Bearer none"):
                answer = Answer(status=401, error=f"Incorrect API key provided: {question.authorization}")
            self._send(answer, _body(question, answer))
        except OSError:
            self.close_connection = True
        finally:
            lab.end()

    def _send(self, answer: Answer, content: bytes) -> None:
        if answer.hang_up:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(content)))
        if answer.after:
            self.send_header("Retry-After", answer.after)
        self.end_headers()
        self.wfile.write(content[: answer.cut])
        self.close_connection = answer.cut is not None
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: `CaptionServer.asked` holds it all."""


def _understood(path: str, authorization: str, body: dict[str, Any]) -> Question:
    if path.endswith("/chat/completions"):
        text, picture = body["messages"][0]["content"]
        image = base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))
        return Question("openai", path, authorization, body, image, text["text"], time.monotonic())
    picture, text = body["contents"][0]["parts"]
    values = picture["inlineData"]
    assert (values.get("mimeType") or values.get("mime_type")) == "image/jpeg"  # both are names of the field in proto3's JSON
    data = base64.urlsafe_b64decode(values["data"])
    return Question("vertex", path, authorization, body, data, text["text"], time.monotonic())


def _body(question: Question, answer: Answer) -> bytes:
    if answer.raw is not None:
        return answer.raw
    text = answer.text
    if text is None:
        text = f"A photo of a red shirt, {hashlib.sha256(question.image).hexdigest()[:8]}."
    values = (_openai if question.protocol == "openai" else _vertex)(answer, text)
    return json.dumps(values).encode()


def _openai(answer: Answer, text: str) -> dict[str, Any]:
    if answer.status != 200:
        return {"error": {"message": answer.error or "as told", "type": "lab", "param": None, "code": answer.code or None}}
    message = {"role": "assistant", "content": text or None, "refusal": answer.refusal or None}
    return {
        "id": "chatcmpl-lab",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish or "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


def _vertex(answer: Answer, text: str) -> dict[str, Any]:
    if answer.status != 200:
        details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": answer.retry_info}] if answer.retry_info else []
        return {"error": {"code": answer.status, "message": answer.error or "as told", "status": "AS_TOLD", "details": details}}
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 15, "thoughtsTokenCount": 5, "totalTokenCount": 120}
    if answer.feedback:
        return {"promptFeedback": {"blockReason": answer.feedback}, "usageMetadata": usage, "modelVersion": MODEL}
    content = {"role": "model", "parts": [{"text": text}]} if text else {"role": "model"}
    candidate = {"content": content, "finishReason": answer.finish or "STOP"}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODEL}
