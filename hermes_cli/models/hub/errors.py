"""Translates the exceptions of huggingface_hub into hermes' errors, with hints for the user."""

import contextlib
import logging
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from hermes_cli.errors import DownloadError, HermesError, ModelUnavailable, first_line, is_disk_full
from hermes_cli.models.download import disk_full

NO_HUB = "check the network or the HTTPS_PROXY setting, or give the path of a .gguf file with -m"
NO_SEARCH = (
    "check the network, HF_ENDPOINT or the HTTPS_PROXY setting; 'hermes models list' needs no connection"
)
AGAIN = "run the command again to resume the download"


def transport_error() -> type[Exception]:
    """Return the base class of the exceptions that the hub's HTTP client raises.

    Depending on its version, huggingface_hub uses httpx or httpx2, which have no common class. HfHubHTTPError
    derives from the `HTTPError` of the client in use.
    """
    from huggingface_hub.errors import HfHubHTTPError

    return next(c for c in HfHubHTTPError.__mro__ if c.__name__ == "HTTPError" and issubclass(c, Exception))


class FileMissing(ModelUnavailable):
    """The repository exists, but the file does not."""


@contextlib.contextmanager
def translated_errors(repo: str, needed: int, folder: Path) -> Iterator[None]:
    """Translate every exception that a hub call in the block raises into one of hermes' errors.

    If the disk is full, the error states that the download needs `needed` bytes in `folder`. In the block,
    huggingface_hub logs only errors.
    """
    from huggingface_hub.utils import logging as hub_log

    verbosity = hub_log.get_verbosity()
    hub_log.set_verbosity(logging.ERROR)
    try:
        yield
    except HermesError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and is_disk_full(error):
            raise disk_full(needed, folder) from None
        raise _translate(repo, error) from error
    finally:
        hub_log.set_verbosity(verbosity)


@contextlib.contextmanager
def translated_search_errors() -> Iterator[None]:
    """Translate every exception that a search of the hub in the block raises into a DownloadError."""
    from huggingface_hub import errors

    try:
        yield
    except HermesError:
        raise
    except errors.OfflineModeIsEnabled as error:
        raise DownloadError("the hub cannot be searched: HF_HUB_OFFLINE is set", "unset it") from error
    except (transport_error(), ConnectionError) as error:
        raise DownloadError("the hub cannot be reached to search it", NO_SEARCH) from error
    except Exception as error:
        raise DownloadError(f"the hub could not be searched: {first_line(error)}", NO_SEARCH) from error


def _translate(repo: str, error: Exception) -> ModelUnavailable:
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return DownloadError(
            f"{repo} cannot be downloaded: HF_HUB_OFFLINE is set",
            "unset it, or give the path of a .gguf file",
        )
    if isinstance(error, errors.HFValidationError):
        return ModelUnavailable(f"'{repo}' is not a valid repository name")
    if isinstance(error, errors.HfHubHTTPError):
        return _translate_response(repo, error)
    if isinstance(error, transport_error() | errors.LocalEntryNotFoundError | ConnectionError):
        return DownloadError(f"the hub cannot be reached to download {repo}", NO_HUB)
    return DownloadError(f"{repo} could not be downloaded: {first_line(error)}", AGAIN)


def _translate_response(repo: str, error: Any) -> ModelUnavailable:
    from huggingface_hub import errors

    page = f"https://huggingface.co/{repo}"
    if isinstance(error, errors.GatedRepoError):
        return ModelUnavailable(
            f"{repo} can be downloaded only after you accept its terms",
            f"accept them at {page}, then run 'hf auth login'",
        )
    if isinstance(error, errors.RemoteEntryNotFoundError | errors.RevisionNotFoundError):
        return FileMissing(f"{repo} has no such file", f"its files are at {page}")
    status = error.response.status_code
    if isinstance(error, errors.RepositoryNotFoundError) or status == HTTPStatus.NOT_FOUND:
        return ModelUnavailable(
            f"the hub has no repository {repo} that is visible without signing in",
            "check the spelling; for a private repository, run 'hf auth login'",
        )
    if status == HTTPStatus.UNAUTHORIZED:
        return ModelUnavailable(f"this account has no access to {repo} on the hub", "run 'hf auth login'")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return DownloadError(
            f"the hub is overloaded and did not send {repo} (HTTP {status})", f"wait, then {AGAIN}"
        )
    return DownloadError(f"the hub did not send {repo} (HTTP {status})", NO_HUB)
