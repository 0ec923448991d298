"""The images in the body of a request, as one file, or as a form with several."""

from collections.abc import Awaitable, Callable
from pathlib import PurePath
from typing import NamedTuple

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from jaxunreg.serving.places import TakenPlaces
from jaxunreg.serving.refusals import RequestError, TooLargeError

_FORM = "multipart/form-data"


class ReceivedFile(NamedTuple):
    """A received file: its name, without folders, and its bytes."""

    name: str
    contents: bytes


async def received_files(request: Request, places: TakenPlaces, most_bytes: int) -> list[ReceivedFile]:
    """Read the body of a request.

    Args:
      request: a form of files with any field names, or the bytes of one image, whose name is `name` in the query.
      places: the places, with one for the first image. Each further image takes another.
      most_bytes: most bytes of the body.

    Raises:
      TooLargeError: the body has more bytes, or more images than there are places.
      QueueFullError: too few places are free.
      RequestError: there is no image in it, or it claims to be a form but is not.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most_bytes:
        raise _too_large(most_bytes)
    limited = Request(request.scope, _limited(request.receive, most_bytes))
    try:
        if request.headers.get("content-type", "").lower().startswith(_FORM):
            return await _files_of_form(limited, places)
        contents = await limited.body()
    except ClientDisconnect as error:
        raise RequestError("a body that was cut short", "all of it", "send it again") from error
    if not contents:
        raise RequestError(
            "an empty body",
            f"the bytes of a PNG, JPEG, BMP or TIFF, or {_FORM} with several files",
            "e.g. curl --data-binary @part.png, or curl -F image=@part.png",
        )
    return [ReceivedFile(_file_name(request.query_params.get("name", "")), contents)]


async def _files_of_form(request: Request, places: TakenPlaces) -> list[ReceivedFile]:
    try:
        async with request.form(max_fields=16) as form:
            uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            if len(uploads) > 1:
                places.take(len(uploads) - 1)
            files = [ReceivedFile(_file_name(upload.filename or ""), await upload.read()) for upload in uploads]
    except HTTPException as error:
        raise RequestError(
            f"a form that cannot be read ({error.detail})", _FORM, "e.g. curl -F image=@part.png"
        ) from error
    if not files:
        raise RequestError("a form without a file", "one or more", "e.g. curl -F image=@part.png")
    return files


def _limited(receive: Callable[[], Awaitable[Message]], most_bytes: int) -> Callable[[], Awaitable[Message]]:
    """Yield a body up to so many bytes, whatever its head says."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most_bytes:
            raise _too_large(most_bytes)
        return message

    return limited


def _too_large(most_bytes: int) -> TooLargeError:
    return TooLargeError(
        "a body of more bytes", f"at most {most_bytes}", "send fewer images at a time, or smaller ones"
    )


def _file_name(given: str) -> str:
    r"""Return the last part of a path of any system.

    >>> _file_name("C:\\parts\\a.png"), _file_name("../a.png"), _file_name("")
    ('a.png', 'a.png', 'image')
    """
    return PurePath(given.replace("\\", "/")).name or "image"
