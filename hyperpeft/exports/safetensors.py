"""Our own format: one safetensors file for any kind, settings in its header."""

from pathlib import Path

from hyperpeft.exports.base import Exported
from hyperpeft.weights import save_weights


def write_safetensors(exported: Exported, folder: Path) -> None:
    """Write `adapter.safetensors`, which `hyperpeft.weights.load_weights` reads, and the card."""
    save_weights(exported.weights, folder / "adapter.safetensors")
    (folder / "README.md").write_text(exported.card, encoding="utf-8")
