"""Asking the sources for commit, sizes and hashes: the builder's only requests besides those for the files."""

from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from builder.errors import BuilderError
from builder.sources import Expected, Hub, Pin, is_commit, path_at_source, paths_of, source_of
from builder.transfer import Patience, Unanswered, asked, backed_off
from model_cache.catalogue import Model

_SECONDS = 30.0
_Answer = TypeVar("_Answer")


def resolve(model: Model, hub: Hub, client: httpx.Client, held: Pin | None, patience: Patience) -> Pin:
    """The pin of a model: at the held commit where there is one, else at the catalogue's, else at the source's present state. What is held
    is kept.

    Raises `BuilderError` for a source that does not answer, refuses, or lacks a file.
    """
    pin = _of_hub(model, hub, held, patience) if model.source.repository else _of_address(model, client, patience)
    if held is None:
        return pin
    kept = {path: held.files.get(path, it) for path, it in pin.files.items()}
    return pin.model_copy(update={"files": kept})


def _of_hub(model: Model, hub: Hub, held: Pin | None, patience: Patience) -> Pin:
    from huggingface_hub import HfApi  # noqa: PLC0415 - takes a moment

    repository, wanted = source_of(model), model.source.revision or ""
    api = HfApi(endpoint=hub.endpoint, token=hub.token or False)

    def asked_for(revision: str) -> Any:
        return _answered(repository, patience, lambda: api.model_info(repository, revision=revision, files_metadata=True, timeout=_SECONDS))

    if held is not None and is_commit(held.revision):
        info = asked_for(held.revision)
    elif is_commit(wanted):
        info = asked_for(wanted)
    else:
        info = asked_for("main")
        if not str(info.sha).startswith(wanted):  # an older commit is asked for by its whole name only
            commits = _answered(repository, patience, lambda: [it.commit_id for it in api.list_repo_commits(repository)])
            info = asked_for(_only(repository, wanted, commits))
    there = {it.rfilename: it for it in info.siblings or ()}
    if lacking := [path for path in paths_of(model) if path not in there]:
        raise BuilderError(f"{repository} has no {', '.join(lacking)} at revision {info.sha}, which the catalogue wants for {model.name}.")
    return Pin(source=repository, revision=str(info.sha), files={path: _expected(there[path]) for path in paths_of(model)})


def _only(repository: str, wanted: str, commits: list[str]) -> str:
    """The commit whose name begins so. Raises `BuilderError` unless there is exactly one."""
    found = [commit for commit in commits if commit.startswith(wanted)]
    if len(found) != 1:
        raise BuilderError(
            f"{repository} has {len(found) or 'no'} commits that begin with {wanted}, the revision that the catalogue names."
        )
    return found[0]


def _expected(it: Any) -> Expected:
    """What the hub says of a file: an LFS file's sha256, else git's name of its content."""
    return Expected(size=it.size, sha256=it.lfs.sha256 if it.lfs else None, blob=None if it.lfs else it.blob_id)


def _answered(repository: str, patience: Patience, ask: Callable[[], _Answer]) -> _Answer:
    import httpx2  # noqa: PLC0415 - what huggingface_hub speaks HTTP with
    from huggingface_hub import errors  # noqa: PLC0415

    def attempt() -> _Answer:
        try:
            return ask()
        except errors.OfflineModeIsEnabled:
            raise BuilderError(
                "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, so the hub is not asked; unset it, or import with --from."
            ) from None
        except errors.GatedRepoError:
            raise BuilderError(_gated(repository)) from None
        except errors.RepositoryNotFoundError:
            raise BuilderError(f"The hub has no {repository}, or it is private; HF_TOKEN must be one that may read it.") from None
        except errors.RevisionNotFoundError:
            raise BuilderError(
                f"{repository} no longer has the revision that is held; where the catalogue names none --update takes the present one."
            ) from None
        except errors.HfHubHTTPError as error:
            asked(repository, error.response.status_code, error.response.headers.get("Retry-After"))
            raise BuilderError(f"{repository} could not be asked: the hub answered {error.response.status_code}.") from None
        except (httpx2.HTTPError, OSError, ValueError) as error:
            raise Unanswered(f"the hub could not be asked about {repository} ({type(error).__name__})") from None

    return backed_off(attempt, patience)


def _gated(repository: str) -> str:
    return (
        f"{repository} is only for those who accepted its terms: accept them on its page at the hub, "
        "then set HF_TOKEN to a token of that account."
    )


def _of_address(model: Model, client: httpx.Client, patience: Patience) -> Pin:
    address = source_of(model)
    shown = f"{model.name} at {httpx.URL(address).host}"  # an address may carry a signature
    if len(model.files) != 1:
        raise BuilderError(f"The catalogue gives {model.name} several files and one address; an address has one file.")

    def attempt() -> Expected:
        try:
            with client.stream("GET", address, headers={"Range": "bytes=0-0"}) as answer:
                asked(shown, answer.status_code, answer.headers.get("Retry-After"))
                total = answer.headers.get("Content-Range", "/").rpartition("/")[2]
                length = total if answer.status_code == httpx.codes.PARTIAL_CONTENT else answer.headers.get("Content-Length", "")
                return Expected(size=int(length) if length.isdigit() else None, etag=answer.headers.get("ETag"))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unanswered(f"{shown} does not answer ({type(error).__name__})") from None

    return Pin(source=address, revision="", files={path_at_source(model, model.files[0]): backed_off(attempt, patience)})
