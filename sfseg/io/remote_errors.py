"""What is wrong with a bucket or a web server, in plain words.

No message repeats what a server or obstore says: that may quote the request, or a file of keys.
"""

import contextlib
import re
from collections.abc import Iterator

from sfseg.errors import RemoteError, StackError
from sfseg.system.remote import RemotePath

_CODE = re.compile(r"<Code>(\w+)</Code>")
"""What an answer of S3 and of Google calls the error."""

_KEYS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (profiles in ~/.aws are not read); for "
    "a public bucket set AWS_SKIP_SIGNATURE=true, and AWS_REGION where it lies",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the file of your keys, or run gcloud auth "
    "application-default login; for a public bucket set GOOGLE_SKIP_SIGNATURE=true",
}
_KEY_FILES = {
    "s3": "set AWS_WEB_IDENTITY_TOKEN_FILE to a file that can be read, or unset it",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the key file (JSON) of a service account, or "
    "unset it and run gcloud auth application-default login",
}
_FLAGS = {"s3": "AWS_SKIP_SIGNATURE", "gs": "GOOGLE_SKIP_SIGNATURE"}
_NEW_KEYS = {
    "s3": "get new ones, then start again",
    "gs": "run gcloud auth application-default login, then start again",
}
_LISTS = {
    "s3": "get the right s3:ListBucket",
    "gs": "get the right storage.objects.list; a public store can also be read at "
    "https://storage.googleapis.com/{}/{}",
}
"""What helps where only the objects can be read; the bucket and the key come into it."""

_REGION = ("it is in another region", "set AWS_REGION to the region of the bucket")
_CODES = {
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "ExpiredToken": ("the credentials have expired", "get new ones, then start again"),
    "RequestTimeTooSkewed": ("the clock of this machine is wrong", "set the clock"),
    "SlowDown": ("too many requests for the server", "wait a while, then start again"),
}
"""What is wrong, and what helps, by the code of the error."""

_NO_ROLE = re.compile(r"//169\.254\.|/computeMetadata/|/latest/(api/token|meta-data)")
"""The addresses at which obstore asks for the role of the machine."""

# What obstore says where it sends no request for an object. Each has a space, and an address in
# its text has none: so no name of an object is taken for one.
_NO_KEYS = re.compile(r"Missing (SecretAccessKey|AccessKeyId)")
_BAD_FILE = re.compile(r"service account file|pem file|RSA key|key encoding|token file ")
_BAD_KEYS = re.compile(r"token request: .* status code: 40\d")
_BAD_FLAG = re.compile(r" as boolean")


@contextlib.contextmanager
def explain_remote(path: RemotePath) -> Iterator[None]:
    """Turn what obstore raises into an error in plain words; without what the server said.

    Raises
    ------
    RemoteError
        If the server does not answer, or does not permit it.
    StackError
        If there is no such bucket.
    FileNotFoundError
        Unchanged, if there is no such object.
    """
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        _refuse_missing_bucket(path, error)
        raise
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise _denied(path, error) from None
    except exceptions.NotSupportedError:
        raise RemoteError(
            f"{path}: the server sends whole files only, but the store has many chunks in a file",
            hint="use a server that answers requests for ranges, as nginx and buckets do",
        ) from None
    except exceptions.BaseError as error:
        _refuse_missing_bucket(path, error)
        raise _failed(path, error) from None


@contextlib.contextmanager
def explain_list(path: RemotePath) -> Iterator[None]:
    """Say of a RemoteError that it was a listing that is not permitted, and raise it."""
    try:
        yield
    except RemoteError as error:
        if not error.is_denied:
            raise
        raise RemoteError(
            f"{path}: no permission to list the bucket",
            hint=_LISTS[path.scheme].format(path.bucket, path.key),
            is_denied=True,
        ) from None


def has_no_role(error: BaseException) -> bool:
    """Tell whether obstore found no server that knows the role of the machine."""
    return bool(_NO_ROLE.search(str(error)))


def _refuse_missing_bucket(path: RemotePath, error: BaseException) -> None:
    """Raise StackError if the bucket is missing, and not only the object."""
    if "NoSuchBucket" in _CODE.findall(str(error)):
        elsewhere = ", and AWS_ENDPOINT_URL if the bucket is not at Amazon"
        raise StackError(
            f"{path}: there is no bucket {path.bucket}",
            hint=f"check the spelling{elsewhere if path.scheme == 's3' else ''}",
        ) from None


def _denied(path: RemotePath, error: BaseException) -> RemoteError:
    """Make the error of a server that does not permit what was asked."""
    for code in _CODE.findall(str(error)):
        if code in _CODES:
            return _remote_error(path, *_CODES[code])
    return RemoteError(
        f"{path}: no permission",
        hint=_KEYS.get(path.scheme, "copy the store to a disk, with a program that can log in"),
        is_denied=True,
    )


def _failed(path: RemotePath, error: BaseException) -> RemoteError:
    """Make the error of a server that does not answer, or answers with an error."""
    text = str(error)
    for code in _CODE.findall(text):
        if code in _CODES:
            return _remote_error(path, *_CODES[code])
    if path.scheme in _KEYS and (found := _find_bad_keys(path.scheme, error)):
        return _remote_error(path, *found)
    status = re.search(r"status(?: code)?:? (\d{3})", text)
    if status and status[1] in {"401", "403"}:  # so it is for a listing
        return _denied(path, error)
    problem = f"the server answers with error {status[1]}" if status else "no answer"
    where = (
        "address, the network and AWS_ENDPOINT_URL"
        if path.scheme == "s3"
        else "address and the network"
    )
    return _remote_error(path, problem, f"check the {where}")


def _find_bad_keys(scheme: str, error: BaseException) -> tuple[str, str] | None:
    """Say what is wrong with the credentials, and what helps; None if they were not the reason."""
    text = str(error).partition("\n")[0]  # the rest repeats it
    if has_no_role(error) or _NO_KEYS.search(text):
        return "there are no credentials", _KEYS[scheme]
    if _BAD_FILE.search(text):
        return "the file of the credentials cannot be used", _KEY_FILES[scheme]
    if _BAD_KEYS.search(text):
        return "the credentials are not accepted", _NEW_KEYS[scheme]
    if _BAD_FLAG.search(text):
        return (
            f"{_FLAGS[scheme]} is neither true nor false",
            f"set {_FLAGS[scheme]} to true, or unset it",
        )
    return None


def _remote_error(path: RemotePath, problem: str, hint: str) -> RemoteError:
    return RemoteError(f"{path}: {problem}", hint=hint)
