"""Both services through their real clients, against a server that speaks their protocols."""

import time
import warnings
from email.utils import formatdate

import pytest

from tests.lab.captions import MODEL, OPENAI_KEY, PROJECT, TOKEN, Answer, CaptionServer, cut, hang_up, refuse, say, slow
from tests.lab.daemon import free_ports
from workflow_scripts.core.step import StepError
from workflow_scripts.lora.caption_backends import RefusedError, Reply, Retry, open_captioner, plain, retry_after

pytest.importorskip("openai")
pytest.importorskip("google.genai")
BACKENDS = ["openai", "vertex"]
IMAGE = b"\xff\xd8\xff\xe0 what a JPEG holds \x00\xff"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """One server for all tests, and its environment."""
    with CaptionServer() as running:
        yield running, running.environment(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def server(lab, monkeypatch):
    """The server as if it had just been started."""
    running, environment = lab
    running.reset()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return running


def connect(server, backend, timeout=5.0, **changed):
    settings = {"backend": backend, "model": MODEL, "project": PROJECT, "location": "us-central1", "base_url": f"{server.endpoint}/v1"}
    return open_captioner(settings | changed, timeout)


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture
def captioner(server, backend, clients):
    """A client, made once: that takes longer than most tests."""
    if backend not in clients:
        clients[backend] = connect(server, backend)
    return clients[backend]


@pytest.fixture(scope="module")
def clients():
    return {}


def test_the_picture_and_the_prompt_arrive_and_the_caption_comes_back(server, backend, captioner):
    server.answers.append(say("Ein rotes Hemd, «blau» 日本\n"))
    assert captioner.caption(IMAGE, 'Beschreibe ü "{x}"') == Reply("Ein rotes Hemd, «blau» 日本\n", 100, 20)
    (asked,) = server.asked
    assert (asked.protocol, asked.image, asked.prompt) == (backend, IMAGE, 'Beschreibe ü "{x}"')
    assert (
        asked.path
        == {
            "openai": "/v1/chat/completions",
            "vertex": f"/v1beta1/projects/{PROJECT}/locations/us-central1/publishers/google/models/{MODEL}:generateContent",
        }[backend]
    )
    if backend == "openai":
        assert asked.body["model"] == MODEL


@pytest.mark.parametrize(
    ("answer", "text", "after"),
    [
        (refuse(429, after="7"), "429 .*as told", 7.0),
        (refuse(429), "429 .*as told", None),
        (refuse(503, after="soon"), "503 .*as told", None),
        (refuse(500), "500 .*as told", None),
        (refuse(502, raw=b"<html>bad gateway", kind="text/html"), "502", None),
        (refuse(504, raw=b"[]"), "504", None),
        (refuse(500, raw=b'{"error": {"details": 5}}'), "500", None),
        (refuse(408), "408 .*as told", None),
        (hang_up(), "Server disconnected", None),
        (cut(20), "peer closed connection", None),
        (cut(0), "peer closed connection", None),
        (Answer(raw=b'{"choices": [{"mess'), "malformed reply", None),
        (Answer(raw=b""), "malformed reply", None),
        (Answer(raw=b"<html>hello", kind="text/html"), "malformed reply", None),
        *[
            (Answer(raw=raw), "malformed reply", None)
            for raw in (
                b"5",
                b"[]",
                b"null",
                b"{}",
                b'{"choices": [], "candidates": []}',
                b'{"choices": 5, "candidates": 5}',
                b'{"choices": [5], "candidates": [5]}',
                b'{"choices": [{"message": null}], "candidates": [{"content": 7}]}',
                b'{"choices": [{"message": {"content": 5}}], "candidates": [{"content": {"parts": "x"}}]}',
                b'{"choices": [{"message": {"content": "\xff\xfe"}}]}',
            )
        ],
    ],
)
def test_what_another_try_may_mend_says_so(server, captioner, answer, text, after):
    server.answers.append(answer)
    with pytest.raises(Retry, match=f"^{text}|{text}") as caught:
        captioner.caption(IMAGE, "p")
    assert caught.value.after == after
    assert captioner.caption(IMAGE, "p").text.startswith("A photo of"), "the client is of no more use"
    assert len(server.asked) == 2, "the client tried again by itself"


def test_no_answer_in_time(server, backend):
    captioner = connect(server, backend, timeout=0.3)
    server.answers.append(slow(1.0))
    start = time.monotonic()
    with pytest.raises(Retry, match="timed out"):
        captioner.caption(IMAGE, "p")
    assert time.monotonic() - start < 0.9
    assert len(server.asked) == 1


def test_nobody_listens(server, backend, monkeypatch):
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", endpoint)
    captioner = connect(server, backend, base_url=endpoint)
    with pytest.raises(Retry, match="refused"):
        captioner.caption(IMAGE, "p")


def test_google_says_how_long_to_wait_in_a_field_of_its_own(server):
    captioner = connect(server, "vertex")
    server.answers.append(refuse(429, retry_info="3.5s", after="9"))
    with pytest.raises(Retry) as caught:
        captioner.caption(IMAGE, "p")
    assert caught.value.after == 3.5


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_image_is_not_tried_again(server, captioner, status):
    server.answers.append(refuse(status, error="image too small"))
    with pytest.raises(RefusedError, match=f"^{status} .*image too small$"):
        captioner.caption(IMAGE, "p")


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, "the key is refused"), (402, "cannot pay"), (403, "the key has no access"), (404, "no such model or address")],
)
def test_what_the_user_must_mend_names_whom_was_asked(server, backend, captioner, status, text):
    server.answers.append(refuse(status))
    with pytest.raises(StepError, match=rf"{MODEL}.*{text} \({status}\): .*as told") as caught:
        captioner.caption(IMAGE, "p")
    named = {"openai": (server.endpoint, "OPENAI_API_KEY"), "vertex": (PROJECT, "us-central1", "key.json")}[backend]
    assert all(name in str(caught.value) for name in named)


@pytest.mark.parametrize(
    ("backend", "answer", "reason"),
    [
        ("openai", say("", finish="content_filter"), "blocked: content_filter"),
        ("openai", say("half a sen", finish="content_filter"), "blocked: content_filter"),
        ("openai", Answer(text="", refusal="I can't help"), "blocked: I can't help"),
        ("openai", refuse(400, code="content_filter", error="by policy"), "blocked: by policy"),
        ("openai", say("", finish="length"), "empty reply: length"),
        ("openai", say(" \n"), "empty reply: stop"),
        ("vertex", say("", finish="SAFETY"), "blocked: SAFETY"),
        ("vertex", say("half a sen", finish="PROHIBITED_CONTENT"), "blocked: PROHIBITED_CONTENT"),
        ("vertex", say("", finish="SOMETHING_NEW"), "blocked: SOMETHING_NEW"),
        ("vertex", Answer(feedback="BLOCKLIST"), "blocked: BLOCKLIST"),
        ("vertex", say("", finish="MAX_TOKENS"), "empty reply: MAX_TOKENS"),
        ("vertex", say(" \n"), "empty reply: STOP"),
    ],
)
def test_a_block_is_a_reply_with_its_reason(server, backend, answer, reason):
    server.answers.append(answer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a finish reason that the client does not know
        reply = connect(server, backend).caption(IMAGE, "p")
    assert (reply.text, reply.blocked) == ("", reason)
    assert reply.tokens_in == (0 if answer.status != 200 else 100), "a block is paid for too"


def test_no_credit_left_comes_as_429_and_is_no_matter_of_waiting(server):
    server.answers.append(refuse(429, code="insufficient_quota"))
    with pytest.raises(StepError, match="cannot pay"):
        connect(server, "openai").caption(IMAGE, "p")


def test_a_wrong_key_is_refused_and_not_repeated(server, backend, monkeypatch):
    secret = "sk-wrong-000111222333"
    monkeypatch.setenv("OPENAI_API_KEY", f" {secret}\n")
    server.refuse_tokens = 400
    with pytest.raises(StepError, match="the key is refused") as caught:
        connect(server, backend).caption(IMAGE, "p")
    assert secret not in str(caught.value)
    assert "eyJ" not in str(caught.value), "the signed assertion stands in the error"
    if backend == "openai":
        assert server.asked[0].authorization == f"Bearer {secret}"


def test_a_token_server_in_trouble_is_worth_another_try(server, monkeypatch):
    import google.auth._exponential_backoff as backoff

    monkeypatch.setattr(backoff.time, "sleep", lambda seconds: None)
    server.refuse_tokens = 503
    captioner = connect(server, "vertex")
    with pytest.raises(Retry):
        captioner.caption(IMAGE, "p")
    server.refuse_tokens = 0
    assert captioner.caption(IMAGE, "p").text


def test_a_token_is_fetched_once_for_many_requests(server):
    captioner = connect(server, "vertex")
    for _ in range(3):
        captioner.caption(IMAGE, "p")
    assert (server.tokens, len(server.asked)) == (1, 3)


def test_secrets_that_a_service_repeats_are_hidden(server, backend, captioner):
    secret = {"openai": OPENAI_KEY, "vertex": TOKEN}[backend]
    server.answers += [say(f"a shirt {secret}"), refuse(500, error=f"for {secret}"), refuse(400, error=f"{'x' * 290}{secret}")]
    server.answers += [refuse(403, error=f"{secret} has no access"), say("", finish=secret)]
    assert captioner.caption(IMAGE, "p").text == "a shirt ***"
    for kind in (Retry, RefusedError, StepError):
        with pytest.raises(kind) as caught:
            captioner.caption(IMAGE, "p")
        assert secret[:8] not in str(caught.value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert captioner.caption(IMAGE, "p").blocked.endswith(": ***")


@pytest.mark.parametrize(
    ("backend", "missing", "text"),
    [
        ("openai", "model", "caption.model: needed where caption.backend is openai"),
        ("vertex", "model", "caption.model: needed where caption.backend is vertex"),
        ("vertex", "project", "caption.project: needed where caption.backend is vertex"),
    ],
)
def test_a_setting_that_is_missing_is_named(server, backend, missing, text):
    with pytest.raises(StepError, match=text):
        connect(server, backend, **{missing: None})


def test_a_server_of_ones_own_needs_no_key_and_openai_does(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert connect(server, "openai").caption(IMAGE, "p").text
    assert server.asked[0].authorization == "Bearer none"
    with pytest.raises(StepError, match="set the environment variable OPENAI_API_KEY"):
        connect(server, "openai", base_url=None)


def test_openai_itself_is_asked_unless_the_settings_say_otherwise(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.endpoint}/elsewhere")
    assert str(connect(server, "openai", base_url=None)._client.base_url) == "https://api.openai.com/v1/"


@pytest.mark.parametrize("content", [None, "", "no JSON", "{}", '{"type": "authorized_user", "refresh_token": "r3fr3sh"}', "5"])
def test_what_is_no_key_of_a_service_account_is_named(server, tmp_path, monkeypatch, content):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(StepError, match=r"GOOGLE_APPLICATION_CREDENTIALS: .*other\.json") as caught:
        connect(server, "vertex")
    assert "r3fr3sh" not in str(caught.value)


def test_a_broken_private_key_is_not_repeated(server, tmp_path, monkeypatch):
    broken = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(server.service_account(tmp_path / "broken.json", private_key=broken)))
    with pytest.raises(StepError, match=r"broken\.json is not the key of a service account") as caught:
        connect(server, "vertex")
    assert "c2Vj" not in str(caught.value)


def test_vertex_takes_no_other_credentials(server, monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", "an API key of the machine")
    assert connect(server, "vertex").caption(IMAGE, "p").text
    assert server.asked[0].authorization == f"Bearer {TOKEN}"
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    with pytest.raises(StepError, match="set the environment variable GOOGLE_APPLICATION_CREDENTIALS"):
        connect(server, "vertex")


def test_retry_after_is_a_number_or_a_date():
    assert [retry_after(text) for text in (None, "", "x", "2.5", "-1", "nan")] == [None, None, None, 2.5, 0.0, 0.0]
    assert 50 < retry_after(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


def test_messages_are_one_bounded_line():
    assert plain("a\n  b\tsecret \ud800", "secret") == "a b *** ?"
    assert len(plain("x" * 1000, None)) == 300
    assert plain("Bearer abc.def, eyJhbGciOi.eyJpc3M.c2ln-_x end", None) == "Bearer *** *** end"
