"""Searches the hub for models and lists their files, within limits on requests, bytes and time.

All text in the answers is untrusted. huggingface_hub reads answers of any size, so this module only takes the
HTTP client and the token from it.
"""

import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from hermes_cli import __version__
from hermes_cli.errors import DownloadError, HermesError
from hermes_cli.models.hub.errors import translated_search_errors
from hermes_cli.models.hub.repository import HubFile
from hermes_cli.models.reference import is_repository
from hermes_cli.untrusted import json_parser
from hermes_cli.untrusted.json_parser import JsonLimits
from hermes_cli.untrusted.source import Source

LISTED: Final = 50
"""The number of repositories to ask for. Many of them have only files for other programs."""
MAX_FILES: Final = 500
"""A repository with more files is cut off. The largest models have about 200 files of weights."""
_JSON: Final = JsonLimits(size=4 << 20, brackets=50_000, commas=200_000, allows_surrogates=True)
_FORMAT_TAGS: Final = frozenset({"gguf", "safetensors", "pytorch"})
_OTHER_PROGRAMS: Final = frozenset({"mlx", "onnx", "openvino", "coreml", "exl2", "exl3"})
_TASKS: Final = frozenset({"", "text-generation", "image-text-to-text", "any-to-any"})
_SOURCE: Final = Source("the hub's answer", DownloadError, hint="check HF_ENDPOINT and the proxy settings")
_AGAIN: Final = "wait, then run the command again"


class SearchLimits(NamedTuple):
    """The limits of a search: seconds for all requests together, and seconds to wait for each next byte."""

    total_s: float = 60.0
    idle_s: float = 10.0


class FoundModel(NamedTuple):
    """A repository on the hub.

    `licence` is the hub's identifier, and empty if unknown. `architecture` is the class of the weights, and
    `quantization` their method; both may be empty. `needs_code` is true if the weights need code of their
    own. `parameters` is 0 if unknown. If the files could not be listed, `problem` is the reason.
    """

    repo: str
    downloads: int = 0
    licence: str = ""
    is_gated: bool = False
    files: tuple[HubFile, ...] = ()
    architecture: str = ""
    quantization: str = ""
    needs_code: bool = False
    parameters: int = 0
    problem: str = ""


def search(
    words: str, *, endpoint: str | None = None, limits: SearchLimits | None = None
) -> Iterator[FoundModel]:
    """Yield the models that the hub finds for `words`, most downloads first, each after one request.

    Repositories without weights in a format that hermes reads are left out. `endpoint` is the hub's address;
    the default is that of huggingface_hub.

    Raises DownloadError if the hub cannot be reached, if its list of models cannot be read, or when the time
    is over.
    """
    limits = limits or SearchLimits()
    deadline = time.monotonic() + limits.total_s
    query: dict[str, str | int] = {"search": words, "sort": "downloads", "limit": LISTED}
    listed = _get("/api/models", query, endpoint, limits, deadline)
    if not isinstance(listed, list):
        raise _SOURCE.error("is not a list of models")
    seen = set[str]()
    for entry in listed[:LISTED]:
        repo = _candidate(entry)
        if repo is None or repo in seen:
            continue
        seen.add(repo)
        if time.monotonic() > deadline:
            raise _too_slow()
        try:
            yield _model(repo, _get(f"/api/models/{repo}", {"blobs": "true"}, endpoint, limits, deadline))
        except HermesError as error:
            yield FoundModel(repo, problem=error.message)


def _candidate(entry: Any) -> str | None:
    """Return the name of a listed repository, or None if it cannot contain a model for hermes."""
    repo = _text(entry, "id")
    if not is_repository(repo):
        return None
    tags = set(_tags(entry))
    is_readable = not tags or bool(tags & _FORMAT_TAGS and ("gguf" in tags or not tags & _OTHER_PROGRAMS))
    return repo if is_readable and _text(entry, "pipeline_tag") in _TASKS else None


def _get(
    path: str, query: dict[str, str | int], endpoint: str | None, limits: SearchLimits, deadline: float
) -> Any:
    """Return the JSON value that the hub answers. Raises DownloadError."""
    with translated_search_errors():
        from huggingface_hub import constants, get_session

        url = f"{endpoint or constants.ENDPOINT}{path}"
        session: Any = get_session()
        with session.stream("GET", url, params=query, headers=_headers(), timeout=limits.idle_s) as response:
            _check_status(response.status_code)
            if response.headers.get("Content-Encoding", "identity") != "identity":  # could expand a lot
                raise _SOURCE.error("is compressed")
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > _JSON.size:
                    raise _SOURCE.error(f"has more than {_JSON.size >> 20} MiB")
                if time.monotonic() > deadline:
                    raise _too_slow()
    return json_parser.parse(bytes(body), _SOURCE, _JSON)


def _headers() -> dict[str, str]:
    """Return the HTTP headers with the user's token, if any.

    Those of huggingface_hub would cost another request, and contain the versions of other packages.
    """
    from huggingface_hub import constants, get_token

    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    headers = {"User-Agent": f"openhermes-cli/{__version__}", "Accept-Encoding": "identity"}
    return headers | ({"Authorization": f"Bearer {token}"} if token else {})


def _too_slow() -> DownloadError:
    return DownloadError("the hub took too long to answer the search", _AGAIN)


def _check_status(status: int) -> None:
    if status < HTTPStatus.BAD_REQUEST:
        return
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise DownloadError(f"the hub is overloaded and did not answer the search (HTTP {status})", _AGAIN)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        hint = "run 'hf auth login', or unset HF_TOKEN"
        raise DownloadError(f"the hub refused the access (HTTP {status})", hint)
    raise DownloadError(f"the hub did not answer the search (HTTP {status})", "check HF_ENDPOINT")


def _model(repo: str, info: Any) -> FoundModel:
    siblings = _list(info, "siblings")[:MAX_FILES]
    config = _dict(info, "config")
    architectures = _list(config, "architectures")
    architecture = architectures[0] if architectures else ""
    return FoundModel(
        repo,
        downloads=_count(info, "downloads"),
        licence=next((tag.removeprefix("license:") for tag in _tags(info) if tag.startswith("license:")), ""),
        is_gated=bool(isinstance(info, dict) and info.get("gated")),
        files=tuple(
            HubFile(name, _count(file, "size") or None)
            for file in siblings
            if (name := _text(file, "rfilename"))
        ),
        architecture=architecture if isinstance(architecture, str) else "",
        quantization=_text(_dict(config, "quantization_config"), "quant_method"),
        needs_code="auto_map" in config or "custom_code" in _tags(info),
        parameters=_count(_dict(info, "safetensors"), "total"),
    )


def _text(value: Any, key: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _count(value: Any, key: str) -> int:
    found = value.get(key) if isinstance(value, dict) else None
    return found if type(found) is int and 0 <= found < 1 << 60 else 0


def _list(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _dict(value: Any, key: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _tags(value: Any) -> list[str]:
    return [tag for tag in _list(value, "tags") if isinstance(tag, str)]
