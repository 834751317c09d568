"""Our own format: one safetensors file for any kind, settings in its header."""

from dataclasses import replace
from pathlib import Path

from hyperpeft.exports.base import Exported
from hyperpeft.weights import save_weights

USAGE = (
    "```python\nfrom pathlib import Path\n\nfrom hyperpeft.exports import check_unchanged\n"
    'from hyperpeft.weights import load_weights\n\nfolder = Path("this folder")\n'
    'check_unchanged(folder, ["adapter.safetensors"])  # an error if it was changed or cut\n'
    'weights = load_weights(folder / "adapter.safetensors")\n```'
)


def write_safetensors(exported: Exported, folder: Path) -> None:
    """Write `adapter.safetensors`, which `hyperpeft.weights.load_weights` reads."""
    save_weights(replace(exported.weights, backbone=exported.identity), folder / "adapter.safetensors")


def safetensors_usage(exported: Exported) -> str:
    """How to read it."""
    return USAGE
