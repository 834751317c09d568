"""Folders on the Hugging Face Hub: generators and adapters are read from there and written there."""

import re
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import ModelHubMixin, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from hyperpeft.config import ConfigError

FILES = ["*.json", "*.yaml", "*.safetensors", "*.md"]
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


class _Folder(ModelHubMixin, library_name="hyperpeft"):
    """Whatever writes itself into a folder, as huggingface_hub's mixin wants it."""

    def __init__(self, write: Callable[[Path], object]):
        self.write = write

    def _save_pretrained(self, save_directory: Path) -> None:
        self.write(save_directory)


def pushed(
    write: Callable[[Path], object], repo_id: str, *, private: bool | None = None, token: str | None = None
) -> str:
    """Upload what `write(folder)` writes to a repository on the Hub, made if there is none; the commit's address.

    Raises ConfigError without a network.
    """
    try:
        return _Folder(write).push_to_hub(repo_id, private=private, token=token, commit_message="Push by hyperpeft")
    except OfflineModeIsEnabled as error:
        raise ConfigError(
            f"{repo_id!r} cannot be pushed: HF_HUB_OFFLINE is set. Unset it, or save to a folder and upload that."
        ) from error


def fetched(place: str | Path, *, revision: str | None = None) -> Path:
    """The folder itself, or a local copy of a repository on the Hub named `owner/name`; pickles are never fetched.

    Raises ConfigError if there is neither a folder nor a repository, or no network and no earlier copy.
    """
    if Path(place).exists() or not REPOSITORY.fullmatch(str(place)):
        return Path(place)
    try:
        return Path(snapshot_download(str(place), revision=revision, allow_patterns=FILES))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ConfigError(
            f"there is no folder {str(place)!r}, and the Hub's repository of that name is neither in the local cache "
            "nor to be had without a network. Check the path, or fetch it once with a network and HF_HUB_OFFLINE unset."
        ) from error
    except HfHubHTTPError as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"there is no folder {str(place)!r}, and the Hub has no such repository: {reason}") from error
