"""GGUF adapters: what the file holds, and, with llama-cpp-python at hand, what llama.cpp computes with it."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from conftest import SIZES, character_tokenizer
from export_checks import KINDS, load_backbone, make
from torch import Tensor
from transformers import AutoModelForCausalLM, MistralConfig, MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM

from hyperpeft.adapters import Lora
from hyperpeft.exports import Exported, write_export
from hyperpeft.exports.gguf import FAMILIES

PYTHON = os.environ.get("HYPERPEFT_LLAMA_CPP_PYTHON", "")
TOKENS = list(range(7, 27))


@pytest.fixture(scope="module")
def bases(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small random model folder of each model type that is translated."""
    root = tmp_path_factory.mktemp("bases")
    made = {name: folders[name] for name in ("llama", "qwen2", "gpt2")}
    vocabulary = len(character_tokenizer())
    sizes = {**SIZES, "vocab_size": vocabulary, "num_key_value_heads": 2}
    torch.manual_seed(0)
    models = {
        "mistral": MistralForCausalLM(MistralConfig(**sizes, sliding_window=None)),
        "qwen3": Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=16)),
    }
    for name, model in models.items():
        model.save_pretrained(root / name)
        character_tokenizer().save_pretrained(root / name)
        made[name] = root / name
    return made


@pytest.fixture(params=sorted(FAMILIES))
def exported(request: pytest.FixtureRequest, bases: dict[str, Path]) -> Exported:
    names = ["c_attn", "c_fc"] if request.param == "gpt2" else ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
    return make(load_backbone(bases[request.param]), Lora(rank=3, alpha=5.0, rslora=True, targets=names))


def tensors(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {tensor.name: tensor.data for tensor in gguf.GGUFReader(file).tensors}


def test_the_file_holds_two_tensors_a_target_and_an_alpha(exported: Exported, tmp_path: Path) -> None:
    write_export(exported, tmp_path, "gguf")
    reader = gguf.GGUFReader(tmp_path / "adapter.gguf")
    assert reader.get_field("general.type").contents() == "adapter"
    assert reader.get_field("adapter.type").contents() == "lora"
    assert reader.get_field("adapter.lora.alpha").contents() == 3.0
    found = tensors(tmp_path / "adapter.gguf")
    assert len(found) == 2 * len(exported.weights.tensors)
    for name, tensor in found.items():
        assert tensor.shape[0 if name.endswith(".lora_a") else 1] == 3
        assert tensor.dtype == np.float32


def test_the_scale_is_in_lora_b(exported: Exported, tmp_path: Path) -> None:
    path, named = next((p, t) for p, t in exported.weights.tensors.items() if p.endswith(("v_proj", "c_fc")))
    write_export(exported, tmp_path, "gguf")
    found = tensors(tmp_path / "adapter.gguf")
    layer = next(part for part in path.split(".") if part.isdigit())
    name = f"blk.{layer}.{'attn_v' if path.endswith('v_proj') else 'ffn_up'}.weight"
    torch.testing.assert_close(torch.tensor(found[f"{name}.lora_a"]), named["A"][0])
    torch.testing.assert_close(torch.tensor(found[f"{name}.lora_b"]), 5.0 / 3**0.5 * named["B"][0].T)


def test_models_and_modules_that_are_not_translated_are_named(folders: dict[str, Path], tmp_path: Path) -> None:
    encoder = make(load_backbone(folders["bert"]), KINDS["plain"])
    with pytest.raises(ValueError, match=r"does not know models of type 'bert'; it knows \['gpt2'.*Use format 'peft'"):
        write_export(encoder, tmp_path, "gguf")
    llama = make(load_backbone(folders["llama"]), KINDS["plain"])
    renamed = {path.replace("self_attn", "elsewhere"): named for path, named in llama.weights.tensors.items()}
    with pytest.raises(ValueError, match=r"llama\.cpp has no tensor for the module model\.layers\.0\.elsewhere"):
        write_export(replace(llama, weights=replace(llama.weights, tensors=renamed)), tmp_path, "gguf")


# ---- llama.cpp itself


def convert(folder: Path, file: Path) -> None:
    """A base model in GGUF, fp32, with a vocabulary of numbers: enough to be asked by token ids."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = model.config
    family = FAMILIES[config.model_type]
    architecture = gguf.MODEL_ARCH[family.architecture]
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[architecture])
    _settings(writer, config)
    for path, tensor in model.state_dict().items():
        module, kind = path.rsplit(".", 1)
        if module == "lm_head" and config.tie_word_embeddings:
            continue
        writer.add_tensor(f"{names.get_name(module)}.{kind}", _laid_out(module, kind, tensor, config).numpy())
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()


def _settings(writer: Any, config: Any) -> None:
    llama_like = config.model_type != "gpt2"
    writer.add_context_length(128)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size if llama_like else 4 * config.n_embd)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    if llama_like:
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        writer.add_rope_dimension_count(head)
        writer.add_key_length(head)
        writer.add_value_length(head)
    else:
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    tokens = [f"<{index}>" for index in range(config.vocab_size)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(
        [gguf.TokenType.CONTROL if index < 4 else gguf.TokenType.NORMAL for index in range(len(tokens))]
    )
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)


def _laid_out(module: str, kind: str, tensor: Tensor, config: Any) -> Tensor:
    """As llama.cpp keeps it: Llama's heads reordered (convert_hf_to_gguf.py, `permute`), GPT-2's matrices turned."""
    last = module.rsplit(".", 1)[-1]
    if config.model_type == "gpt2" and kind == "weight" and last in ("c_attn", "c_fc", "c_proj"):
        return tensor.T.contiguous()
    if last not in FAMILIES[config.model_type].reordered:
        return tensor.contiguous()
    heads = config.num_key_value_heads if last == "k_proj" else config.num_attention_heads
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return halves.swapaxes(1, 2).reshape(tensor.shape).contiguous()


def llama_cpp(base: Path, adapter: Path | str) -> Tensor:
    script = Path(__file__).parent / "consumers" / "llama_cpp_logits.py"
    done = subprocess.run(
        [PYTHON, str(script), str(base), str(adapter), json.dumps(TOKENS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.tensor(json.loads(done.stdout.strip().splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="set HYPERPEFT_LLAMA_CPP_PYTHON (docs/exports.md)")
def test_llama_cpp_computes_the_same(exported: Exported, tmp_path: Path) -> None:
    write_export(exported, tmp_path, "gguf")
    convert(Path(exported.backbone.name), tmp_path / "base.gguf")
    ids = torch.tensor([TOKENS])
    with torch.no_grad():
        bare = exported.backbone.model(input_ids=ids).logits[0]
        with exported.backbone.adapted(exported.weights):
            adapted = exported.backbone.model(input_ids=ids).logits[0]
    assert (adapted - bare).norm() > 0.05 * bare.norm()
    without = llama_cpp(tmp_path / "base.gguf", "-")
    assert (without - bare).norm() < 2e-3 * bare.norm()
    found = llama_cpp(tmp_path / "base.gguf", tmp_path / "adapter.gguf")
    assert (found - adapted).norm() < 2e-3 * adapted.norm()
    assert (found.argmax(-1) == adapted.argmax(-1)).float().mean() > 0.99
