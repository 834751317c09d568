"""A small random model of every family of backbone, saved to folders as a user would have them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image

from hyperpeft.backbones import BACKBONES, Backbone
from hyperpeft.tasks import Episode, Example

WORDS = {"vocab_size": 83, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
BODY = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
SIZES = {**WORDS, **BODY}
GROUPED = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}
EXPERTS = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
COUPLED = {
    **WORDS,
    **{f"{side}_layers": 3 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 48 for side in ("encoder", "decoder")},
    "d_model": 32,
    "max_position_embeddings": 128,
    "decoder_start_token_id": 3,
    "forced_eos_token_id": None,
}
T5 = {**WORDS, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4, "decoder_start_token_id": 0}
IMAGES = {"image_size": 16, "patch_size": 4}

Make = Callable[[], Any]
# family: (kind of backbone, its model)
FAMILIES: Mapping[str, tuple[str, Make]] = {
    "bert": ("encoder", lambda: hf.BertModel(hf.BertConfig(max_position_embeddings=128, **SIZES))),
    "roberta": (
        "encoder",
        lambda: hf.RobertaModel(hf.RobertaConfig(max_position_embeddings=130, **{**SIZES, "pad_token_id": 1})),
    ),
    "distilbert": (
        "encoder",
        lambda: hf.DistilBertModel(
            hf.DistilBertConfig(dim=32, n_layers=3, n_heads=4, hidden_dim=48, max_position_embeddings=128, **WORDS)
        ),
    ),
    "modernbert": ("encoder", lambda: hf.ModernBertModel(hf.ModernBertConfig(local_attention=16, **SIZES))),
    "mpnet": (
        "encoder",
        lambda: hf.MPNetModel(hf.MPNetConfig(max_position_embeddings=130, **{**SIZES, "pad_token_id": 1})),
    ),
    "llama": ("causal_lm", lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED))),
    "mistral": ("causal_lm", lambda: hf.MistralForCausalLM(hf.MistralConfig(sliding_window=16, **GROUPED))),
    "qwen2": ("causal_lm", lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED, tie_word_embeddings=True))),
    "qwen3": ("causal_lm", lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**GROUPED))),
    "gemma2": ("causal_lm", lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(sliding_window=16, **GROUPED))),
    "gemma3": ("causal_lm", lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(sliding_window=16, **GROUPED))),
    "phi3": ("causal_lm", lambda: hf.Phi3ForCausalLM(hf.Phi3Config(num_key_value_heads=2, **SIZES))),
    "gpt2": (
        "causal_lm",
        lambda: hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=128, **WORDS)),
    ),
    "gpt_neox": ("causal_lm", lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(max_position_embeddings=128, **SIZES))),
    "opt": (
        "causal_lm",
        lambda: hf.OPTForCausalLM(
            hf.OPTConfig(ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=128, **_without_width(SIZES))
        ),
    ),
    "bloom": ("causal_lm", lambda: hf.BloomForCausalLM(hf.BloomConfig(hidden_size=32, n_layer=3, n_head=4, **WORDS))),
    "falcon": ("causal_lm", lambda: hf.FalconForCausalLM(hf.FalconConfig(**_without_width(SIZES)))),
    "mixtral": ("causal_lm", lambda: hf.MixtralForCausalLM(hf.MixtralConfig(num_local_experts=4, **GROUPED))),
    "qwen3_moe": ("causal_lm", lambda: hf.Qwen3MoeForCausalLM(hf.Qwen3MoeConfig(**EXPERTS, **GROUPED))),
    "t5": ("seq2seq", lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5))),
    "mt5": (
        "seq2seq",
        lambda: hf.MT5ForConditionalGeneration(hf.MT5Config(feed_forward_proj="gated-gelu", **T5)),
    ),
    "bart": (
        "seq2seq",
        lambda: hf.BartForConditionalGeneration(hf.BartConfig(**COUPLED)),
    ),
    "nllb": ("seq2seq", lambda: hf.M2M100ForConditionalGeneration(hf.M2M100Config(**COUPLED))),
    "vit": ("vision", lambda: hf.ViTModel(hf.ViTConfig(**BODY, **IMAGES))),
    "dinov2": ("vision", lambda: hf.Dinov2Model(hf.Dinov2Config(**BODY, **IMAGES))),
    "clip": (
        "vision",
        lambda: hf.CLIPModel(
            hf.CLIPConfig(
                text_config={**SIZES, "max_position_embeddings": 64},
                vision_config={**BODY, **IMAGES},
                projection_dim=24,
            )
        ),
    ),
    "clip_tower": ("vision", lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**BODY, **IMAGES))),
}
MIXTURES = ("mixtral", "qwen3_moe")
DRAWN = ("grass", "blood", "leaf", "rose", "frog", "tomato", "fire engine", "mouse", "whale", "ant", "elephant")
LENGTHS: Mapping[str, dict[str, int]] = {
    "encoder": {"max_tokens": 64},
    "causal_lm": {"max_tokens": 64, "max_new_tokens": 4},
    "seq2seq": {"max_tokens": 64, "max_new_tokens": 4},
    "vision": {},
}


def _without_width(sizes: Mapping[str, int]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if name != "intermediate_size"}


def save_family(name: str, folder: Path, tokenizer: Any) -> Path:
    """The folder of a family's random model with its tokenizer or image processor."""
    kind, make = FAMILIES[name]
    torch.manual_seed(0)
    model = make()
    # large enough weights that an adapter, and a mistake, show in the outputs
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(3)
    model.save_pretrained(folder)
    if kind == "vision":
        size = {"height": 16, "width": 16}
        hf.ViTImageProcessor(size=size).save_pretrained(folder)
    if kind != "vision" or name == "clip":
        tokenizer.save_pretrained(folder)
    return folder


def load_family(name: str, folder: Path) -> Backbone[Any]:
    """The family's backbone in fp32."""
    kind, _ = FAMILIES[name]
    return BACKBONES[kind](str(folder), dtype="float32", **LENGTHS[kind])


def draw_images(folder: Path) -> dict[str, str]:
    """Paths of small noisy images, by the text that stands for each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for seed, name in enumerate(DRAWN):
        noise = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        paths[name] = str(folder / f"{name}.png")
        Image.fromarray(noise).save(paths[name])
    return paths


def shown(episode: Episode, paths: Mapping[str, str]) -> Episode:
    """The episode with an image in place of each input text; a label without support is left out."""
    seen = {example.output for example in episode.support}

    def drawn(examples: tuple[Example, ...]) -> tuple[Example, ...]:
        return tuple(Example(paths[example.input], example.output) for example in examples)

    return Episode(
        episode.task,
        episode.descriptions,
        drawn(episode.support),
        drawn(episode.query),
        tuple(label for label in episode.labels if label in seen),
        metric=episode.metric,
    )
