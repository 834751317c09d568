"""Where numbers come from: versions, commit and machine."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("hyperpeft", "torch", "transformers", "peft", "scikit-learn", "lightning")
CPUINFO = Path("/proc/cpuinfo")


def provenance(device: torch.device) -> dict[str, Any]:
    """Of this process: package versions, commit (None outside a checkout) and the kind of machine."""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "commit": commit(Path(__file__)),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "system": platform.system(),
        },
    }


def commit(file: Path) -> str | None:
    """The commit of the checkout that tracks the file, `+ changes` if its tracked files differ; None if none does."""
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None
    found = _git(file.parent, "rev-parse", "HEAD")
    changed = _git(file.parent, "status", "--porcelain", "--untracked-files=no")
    return f"{found} + changes" if found and changed else found


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    if CPUINFO.is_file():
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
