"""The two forms of a request for similar items: JSON, and a form with files."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from ._messages import SimilarRequest
from ._problems import ProblemError

# What a body with files is.
FORM = "multipart/form-data"
# The part of a form that has all but the files, as JSON.
PART = "request"
# More than there are modalities; a form of many parts takes long to take apart.
_MOST_FILES = 8

_BODIES = {
    "application/json": {"schema": {"$ref": "#/components/schemas/SimilarRequest"}},
    FORM: {
        "schema": {
            "type": "object",
            "properties": {
                PART: {
                    "type": "string",
                    "description": "A SimilarRequest as JSON.",
                    "examples": ['{"k": 5, "where": "price < 30"}'],
                }
            },
            "additionalProperties": {"type": "string", "format": "binary"},
            "description": "A part for each file, called like the vectors.",
        }
    },
}
OPENAPI = {"requestBody": {"required": True, "content": _BODIES}}


def media_type(request: Request) -> str:
    """Return what a request says that its body is, in small letters."""
    said = request.headers.get("content-type", "")
    return said.partition(";")[0].strip().lower()


async def read_similar(request: Request) -> tuple[SimilarRequest, dict[str, bytes]]:
    """Read what is asked for, and the files.

    Raises ProblemError for a body of another type, or a form that is not as it should
    be; RequestValidationError as FastAPI raises it.
    """
    kind = media_type(request)
    if kind == "application/json":
        return _parsed(await request.body()), {}
    if kind == FORM:
        return await _read_form(request)
    raise ProblemError(
        "media-type", "send application/json, or multipart/form-data with files"
    )


async def _read_form(request: Request) -> tuple[SimilarRequest, dict[str, bytes]]:
    asked, files = SimilarRequest(), dict[str, bytes]()
    async with request.form(max_files=_MOST_FILES, max_fields=1) as form:
        for name, part in form.multi_items():
            if isinstance(part, UploadFile) and name not in files:
                files[name] = await part.read()
            elif isinstance(part, str) and name == PART:
                asked = _parsed(part)
            else:
                raise ProblemError(
                    "invalid-value",
                    f"part {name!r:.100}: there may be one {PART!r}, of JSON, and one "
                    "file of each name",
                )
    return asked, files


def _parsed(text: str | bytes) -> SimilarRequest:
    try:
        return SimilarRequest.model_validate_json(text)
    except ValidationError as error:
        errors: list[Any] = [
            {**each, "loc": ("body", *each["loc"])}
            for each in error.errors(include_url=False, include_context=False)
        ]
        raise RequestValidationError(errors) from error
