"""Captions by any endpoint that speaks OpenAI's chat completions: OpenAI itself, vLLM, Ollama, ..."""

import base64
from typing import Any

from workflow_scripts.core.step import StepError
from workflow_scripts.lora.caption_backends import Reply, Retry, hide, of_status, plain, retry_after

NO_KEY = "none"  # the client insists on one, servers of one's own do not
OFFICIAL = "https://api.openai.com/v1"  # stated, since the client would follow an environment variable that no table mentions
FILTERED = ("content_filter", "content_policy_violation")  # codes of a block that comes as an error
OUT_OF_CREDIT = "insufficient_quota"  # comes as 429, yet no waiting helps


class OpenAi:
    """A model behind chat completions; a `Captioner`."""

    def __init__(self, model: str, base_url: str | None, key: str, timeout: float) -> None:
        """Take the model's name, the endpoint's address, a key, which may be empty for a server of one's own, and seconds to wait."""
        from openai import OpenAI

        self._model = model
        self._key = key
        self._whom = f"{base_url or OFFICIAL}, model {model}, key of OPENAI_API_KEY"
        self._client = OpenAI(api_key=key or NO_KEY, base_url=base_url or OFFICIAL, timeout=timeout, max_retries=0)

    def caption(self, image: bytes, prompt: str) -> Reply:
        """Ask once; see `Captioner`."""
        from openai import APIConnectionError, APIStatusError, OpenAIError

        picture = f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
        content: Any = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": picture}}]
        try:
            answer = self._client.chat.completions.create(model=self._model, messages=[{"role": "user", "content": content}])
        except APIStatusError as error:
            text = plain(error.message.removeprefix(f"Error code: {error.status_code}"), self._key).lstrip("- ")
            return self._refused(error.status_code, error.code, text, error.response.headers)
        except APIConnectionError as error:
            raise Retry(plain(f"{error} {error.__cause__ or ''}", self._key)) from error
        except (OpenAIError, ValueError) as error:
            raise Retry("malformed reply") from error
        return self._read(answer)

    def _read(self, answer: Any) -> Reply:
        """The client passes on whatever came, were it a text; what lacks the fields of a completion is none."""
        try:
            choice = answer.choices[0]
            text, refusal, finish = choice.message.content or "", choice.message.refusal, str(choice.finish_reason)
            tokens = (int(answer.usage.prompt_tokens or 0), int(answer.usage.completion_tokens or 0)) if answer.usage else (0, 0)
            empty = not text.strip()
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise Retry("malformed reply") from error
        if refusal or finish == "content_filter":
            return Reply("", *tokens, blocked=plain(f"blocked: {refusal or finish}", self._key))
        if empty:
            return Reply("", *tokens, blocked=plain(f"empty reply: {finish}", self._key))
        return Reply(hide(text, self._key), *tokens)

    def _refused(self, status: int, code: str | None, text: str, headers: Any) -> Reply:
        if code in FILTERED:
            return Reply("", blocked=f"blocked: {text}")
        if code == OUT_OF_CREDIT:
            raise StepError(f"{self._whom}: the account cannot pay ({status}): {text}")
        raise of_status(status, text, self._whom, retry_after(headers.get("retry-after")))
