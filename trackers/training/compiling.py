"""Where torch.compile keeps what it made, so that the next run does not make it again."""

from __future__ import annotations

import os
from pathlib import Path


def use_compiler_cache(folder: Path | None = None) -> Path:
    """Keep compiled code in a folder that outlives this run. Call it before anything is compiled.

    A folder that the environment names (``TORCHINDUCTOR_CACHE_DIR``) is left as it is. torch's own choice lies among
    the temporary files, which a new machine or container does not have.

    Args:
        folder: by default ``onlinetada/compiled`` among the user's caches (``XDG_CACHE_HOME``).

    Returns:
        The folder.
    """
    if folder is None:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(caches) / "onlinetada" / "compiled"
    chosen = Path(os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder)))
    os.environ.setdefault("TRITON_CACHE_DIR", str(chosen / "triton"))
    return chosen
