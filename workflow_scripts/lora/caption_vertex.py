"""Captions by Gemini on Vertex AI, with the key of a service account."""

from typing import Any

from workflow_scripts.core.step import StepError
from workflow_scripts.lora.caption_backends import Reply, Retry, hide, of_status, plain, retry_after

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
FINISHED = ("STOP", "MAX_TOKENS")  # why a model stops that was not stopped


class Vertex:
    """A Gemini model; a `Captioner`."""

    def __init__(self, model: str, project: str, location: str, key_file: str, timeout: float) -> None:
        """Take the model's name, project and location, the key file of a service account, and seconds to wait.

        Raises:
            StepError: the file is not there or is no such key.
        """
        import httpx2
        from google import genai
        from google.genai.types import HttpOptions, HttpRetryOptions

        self._model = model
        self._whom = f"Vertex AI, project {project}, location {location}, model {model}, key of {key_file}"
        self._credentials = _credentials(key_file)
        self._client = genai.Client(
            vertexai=True,
            project=project,
            location=location,
            credentials=self._credentials,
            # A client given by name: else the library chooses one by what is installed, and its errors are another's.
            http_options=HttpOptions(
                httpx_client=httpx2.Client(), timeout=round(1000 * timeout), retry_options=HttpRetryOptions(attempts=1)
            ),
        )

    def caption(self, image: bytes, prompt: str) -> Reply:
        """Ask once; see `Captioner`."""
        import httpx2
        from google.auth.exceptions import GoogleAuthError, RefreshError
        from google.genai import types
        from google.genai.errors import APIError

        contents: Any = [types.Part.from_bytes(data=image, mime_type="image/jpeg"), prompt]
        try:
            answer = self._client.models.generate_content(model=self._model, contents=contents)
        except APIError as error:
            raise self._refused(error) from error
        except GoogleAuthError as error:
            text = self._plain(error.args[0] if error.args else error)
            if isinstance(error, RefreshError) and not error.retryable:
                raise StepError(f"{self._whom}: the key is refused: {text}") from error
            raise Retry(text) from error
        except httpx2.TransportError as error:
            raise Retry(self._plain(str(error) or type(error).__name__)) from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:  # what came was not of the shape that the client knows
            raise Retry("malformed reply") from error
        return self._read(answer)

    def _read(self, answer: Any) -> Reply:
        usage, feedback = answer.usage_metadata, answer.prompt_feedback
        tokens = (0, 0)
        if usage is not None:
            tokens = usage.prompt_token_count or 0, (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
        if feedback is not None and feedback.block_reason is not None:
            return Reply("", *tokens, blocked=self._plain(f"blocked: {feedback.block_reason.value}"))
        if not answer.candidates:
            raise Retry("malformed reply")
        reason = answer.candidates[0].finish_reason
        finish = reason.value if reason is not None else FINISHED[0]
        if finish not in FINISHED:
            return Reply("", *tokens, blocked=self._plain(f"blocked: {finish}"))
        text = answer.text or ""
        if not text.strip():
            return Reply("", *tokens, blocked=f"empty reply: {finish}")
        return Reply(hide(text, self._credentials.token), *tokens)

    def _refused(self, error: Any) -> Exception:
        headers = getattr(error.response, "headers", {})
        after = _retry_info(error.details) or retry_after(headers.get("retry-after"))
        return of_status(error.code, self._plain(f"{error.status or ''} {error.message or ''}"), self._whom, after)

    def _plain(self, text: object) -> str:
        return plain(text, self._credentials.token)


def _credentials(key_file: str) -> Any:
    from google.auth.exceptions import GoogleAuthError
    from google.oauth2 import service_account

    try:
        return service_account.Credentials.from_service_account_file(key_file, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    except FileNotFoundError as error:
        raise StepError(f"GOOGLE_APPLICATION_CREDENTIALS: {key_file}: no such file") from error
    except (
        OSError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        GoogleAuthError,
    ) as error:  # their texts may hold a part of the key
        raise StepError(f"GOOGLE_APPLICATION_CREDENTIALS: {key_file} is not the key of a service account in JSON") from error


def _retry_info(details: Any) -> float | None:
    """Seconds of a google.rpc.RetryInfo among the details of an error, such as `3.5s`."""
    error = details.get("error", details) if isinstance(details, dict) else None
    found = error.get("details") if isinstance(error, dict) else None
    for detail in found if isinstance(found, list) else []:
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str):
            return retry_after(delay.removesuffix("s"))
    return None
