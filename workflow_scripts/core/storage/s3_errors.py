"""What an S3 store's errors mean, in words that name the mend."""

from typing import Any

from workflow_scripts.core.storage.base import StorageError, StoreError

NOT_S3 = "what answers there is no S3 store; check endpoint_url"

# One object is at fault, and the next may be fine.
_OBJECT = {
    "404": "gone since listing",
    "NoSuchKey": "gone since listing",
    "412": "changed since listing",
    "PreconditionFailed": "changed since listing",
    "403": "access denied",
    "AccessDenied": "access denied",
    "InvalidObjectState": "archived; restore it from its storage class first",
}
# The place, the key or the way there is at fault: trying the next object is no use.
_STORE = {
    "NoSuchBucket": "there is no such bucket; check the name, or make it first",
    "InvalidAccessKeyId": "the store does not know this access key; check AWS_ACCESS_KEY_ID or the profile",
    # Some stores do not tell an unknown access key from a wrong secret.
    "SignatureDoesNotMatch": "the secret key is not this access key's; check AWS_SECRET_ACCESS_KEY and AWS_ACCESS_KEY_ID, or the profile",
    "ExpiredToken": "the session's credentials have expired; get new ones and run again",
    "InvalidToken": "the session token is wrong; check AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "this machine's clock is wrong; the store refuses its signatures",
    "AllAccessDisabled": "access to the bucket is disabled",
    "InvalidBucketName": "this cannot be the name of a bucket",
}
_REGION = ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
_ANSWERED = 500  # statuses from here on are the store's own failures


def explain(error: Exception, location: str, *, of_object: bool) -> StorageError | StoreError:
    """The error to raise for one of botocore's.

    Args:
        error: what a call raised.
        location: the place, as the user wrote it.
        of_object: whether the call was about one object, so that a refusal may be about it alone.
    """
    # Imported here: steps that touch no bucket start without botocore.
    from botocore import exceptions

    if not isinstance(error, exceptions.ClientError):
        return StoreError(f"{location}: {_transport(error)}")
    answer: Any = error.response
    code, text = str(answer.get("Error", {}).get("Code", "")), str(answer.get("Error", {}).get("Message", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _STORE:
        return StoreError(f"{location}: {_STORE[code]}")
    if code in _REGION:
        return StoreError(f"{location}: {_region(answer)}")
    if of_object and code in _OBJECT:
        return StorageError(_OBJECT[code])
    if code in ("AccessDenied", "403"):
        return StoreError(f"{location}: access denied to {error.operation_name}; the key in use lacks a right here")
    if code == "404":
        return StoreError(f"{location}: {_STORE['NoSuchBucket']}")
    said = f"{code}: {text}".strip(": ") or f"status {status}"
    if of_object and status < _ANSWERED:
        return StorageError(said)
    # Without a code of S3's the error may come from something else: a web page, a proxy on the way.
    perhaps = "" if code and not code.isdigit() else ", or endpoint_url is not that of an S3 store"
    return StoreError(f"{location}: the store fails ({error.operation_name}: {said}){perhaps}; what is done is kept, run again later")


def _region(answer: dict[str, Any]) -> str:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    right = headers.get("x-amz-bucket-region") or answer.get("Error", {}).get("Region")
    return f"the bucket is in another region; set region: {right}" if right else "the bucket is in another region; set region"


def _transport(error: Exception) -> str:
    """A failure without an answer. Texts of botocore can hold request details, so only what is known to be plain is passed on."""
    from botocore import exceptions

    # botocore follows an answer that leads nowhere to itself without end, and sometimes wraps what ends it.
    if any(isinstance(one, RecursionError) for one in (error, getattr(error, "kwargs", {}).get("error"))):
        return "the endpoint only leads elsewhere; write as endpoint_url the address that it leads to (https:// in place of http://?)"
    match error:
        case exceptions.PartialCredentialsError():
            return str(error)
        case exceptions.NoCredentialsError():
            return "no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role"
        case exceptions.ProfileNotFound() | exceptions.TokenRetrievalError() | exceptions.CredentialRetrievalError():
            return f"the credentials cannot be used: {error}"
        case exceptions.SSLError():
            return "no secure connection; set AWS_CA_BUNDLE for a private authority, or write http:// if the store has no TLS"
        case exceptions.EndpointConnectionError() | exceptions.ConnectTimeoutError() | exceptions.ProxyConnectionError():
            return "the store cannot be reached; check endpoint_url and the network, then run again"
        case exceptions.ParamValidationError() | exceptions.InvalidRegionError():
            return str(error)
        case ValueError():
            return "endpoint_url is no address; write https://host:port"
        case _:
            return f"the store does not answer ({type(error).__name__}); what is done is kept, run again later"
