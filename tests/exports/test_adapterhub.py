"""AdapterHub folders: their form, and, with `adapters` at hand in an environment of its own, what it computes."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from conftest import color_episode, noise
from export_checks import adapted_outputs, load_backbone, outputs
from safetensors.torch import load_file

from hyperpeft.adapters import AdapterKind, Bottleneck, Lora
from hyperpeft.exports import Exported, write_export

PYTHON = os.environ.get("HYPERPEFT_ADAPTERS_PYTHON", "")
TOKENS = torch.arange(7, 27).reshape(2, 10)
KINDS: dict[str, AdapterKind] = {
    "houlsby": Bottleneck(reduction_factor=4),
    "pfeiffer": Bottleneck(reduction_factor=5, placement="pfeiffer", nonlinearity="relu"),
    "lora": Lora(rank=2, alpha=5.0, rslora=True),
}


def make(folders: dict[str, Path], model: str, kind: AdapterKind) -> Exported:
    backbone = load_backbone(folders[model])
    return Exported(noise(backbone.start(kind), 0, 0.3), backbone, color_episode())


@pytest.mark.parametrize("model", ["bert", "llama"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_folder_has_the_librarys_form(folders: dict[str, Path], model: str, kind: str, tmp_path: Path) -> None:
    exported = make(folders, model, KINDS[kind])
    write_export(exported, tmp_path, "adapterhub")
    about = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (about["model_type"], about["hidden_size"], about["model_name"]) == (model, 32, model)
    tensors = load_file(tmp_path / "adapter.safetensors")
    assert sum(tensor.numel() for tensor in tensors.values()) == sum(
        tensor.numel() for named in exported.weights.tensors.values() for tensor in named.values()
    )
    middle = ".loras.hyperpeft." if kind == "lora" else ".adapters.hyperpeft."
    assert all(middle in name for name in tensors)


def test_what_the_library_has_no_place_for_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not know models of type 'gpt2'; it knows \['bert', 'llama'\]"):
        write_export(make(folders, "gpt2", KINDS["lora"]), tmp_path, "adapterhub")
    with pytest.raises(ValueError, match=r"LoRA does not adapt model\.layers\.0\.self_attn\.o_proj"):
        write_export(make(folders, "llama", Lora(rank=2, targets=["o_proj"])), tmp_path, "adapterhub")
    with pytest.raises(ValueError, match=r"no bottleneck at model\.layers\.0\.mlp\.up_proj"):
        write_export(make(folders, "llama", Bottleneck(targets=["up_proj"])), tmp_path, "adapterhub")
    with pytest.raises(ValueError, match="in all layers: 6 places, not 2"):
        write_export(make(folders, "llama", Bottleneck(layers=[1])), tmp_path, "adapterhub")


def read_by_adapters(exported: Exported, folder: Path | str) -> torch.Tensor:
    script = Path(__file__).parent / "consumers" / "adapters_outputs.py"
    name = type(exported.backbone.model).__name__
    done = subprocess.run(
        [PYTHON, str(script), exported.backbone.name, str(folder), name, json.dumps(TOKENS.tolist())],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.tensor(json.loads(done.stdout.strip().splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="set HYPERPEFT_ADAPTERS_PYTHON (docs/exports.md)")
@pytest.mark.parametrize("model", ["bert", "llama"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_adapters_computes_the_same(folders: dict[str, Path], model: str, kind: str, tmp_path: Path) -> None:
    exported = make(folders, model, KINDS[kind])
    write_export(exported, tmp_path, "adapterhub")
    expected, bare = adapted_outputs(exported), outputs(exported.backbone.model)
    assert (expected - bare).norm() > 1e-2 * bare.norm()
    found = read_by_adapters(exported, tmp_path)
    assert (found - expected).norm() < 1e-4 * expected.norm()
