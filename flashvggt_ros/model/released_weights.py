"""The released weights: downloaded once from the Hugging Face hub, said whose they are, checked.

This project publishes no hash of them. What arrives is compared with the SHA-256 that the hub
declares for the file, which is the name of the file's blob in huggingface_hub's cache: a file that
was damaged on the way or on the disk since then is refused, and so is a file for which the hub
declares none, unless the user gives its hash (``checkpoint_sha256``).
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

logger = logging.getLogger(__name__)

RELEASED_REPOSITORY = "ZipW/FlashVGGT"
RELEASED_FILE = "flashvggt_stream.pt"
RELEASED_SIZE = "4.6 GB"
LICENSE_NOTICE = (
    "the released FlashVGGT weights descend from facebook/VGGT-1B, which is licensed for "
    "non-commercial use only"
)
SHA256 = re.compile(r"[0-9a-f]{64}")


class _Progress(tqdm):
    """A progress bar that is always shown: in place on a terminal, a line every 10 s elsewhere."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        interval = 0.2 if sys.stderr.isatty() else 10.0
        options |= {"mininterval": interval, "maxinterval": interval}
        super().__init__(*arguments, **options)


def released_weights(fallback: str, *, has_own_hash: bool) -> tuple[Path, str]:
    """Return the path of the released weights and the SHA-256 that the hub declares for them.

    Weights in huggingface_hub's cache are used without any network; otherwise they are downloaded,
    with a progress bar, and an interrupted download goes on where it stopped. ``fallback`` is the
    checkpoint to recommend where that fails; ``has_own_hash``: the user has a hash to compare, so
    that none need be declared (it is then ""). Raises ValueError with a remedy.
    """
    logger.warning("%s: %s", RELEASED_REPOSITORY, LICENSE_NOTICE)
    path = _cached() or _downloaded(fallback)
    declared = path.resolve().name
    if SHA256.fullmatch(declared):
        return path, declared
    if has_own_hash:
        return path, ""
    raise ValueError(
        f"the hub declares no SHA-256 for {RELEASED_FILE} of {RELEASED_REPOSITORY}, so that "
        f"nothing says whether {path} is sound: set checkpoint_sha256 to the hash that its "
        "publisher gives"
    )


def _cached() -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None  # the download says so
    found = try_to_load_from_cache(RELEASED_REPOSITORY, RELEASED_FILE)
    return Path(found) if isinstance(found, str) else None


def _downloaded(fallback: str) -> Path:
    remedy = (
        f"download {RELEASED_FILE} of {RELEASED_REPOSITORY} from huggingface.co where there is a "
        f"network and give its path as the checkpoint, or use {fallback}"
    )
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HTTPError
    except ImportError as error:
        raise ValueError(f"huggingface_hub is not installed: install it, or {remedy}") from error
    logger.warning("downloading %s (%s), once", RELEASED_FILE, RELEASED_SIZE)
    try:
        path = Path(hf_hub_download(RELEASED_REPOSITORY, RELEASED_FILE, tqdm_class=_Progress))
    except (OSError, ValueError, HTTPError) as error:  # of network and disk, of names, of HTTP
        cause = error.__cause__ or error  # the hub wraps what the network says
        reason = str(cause).strip().splitlines() or [type(cause).__name__]
        raise ValueError(
            f"the released weights could not be downloaded ({reason[0]}): {remedy}"
        ) from error
    logger.warning(
        "%s has SHA-256 %s, as the hub declares it; this project has no hash of its own to compare "
        "with: set checkpoint_sha256 to that value to accept no other file from now on",
        RELEASED_FILE, path.resolve().name,
    )
    return path
