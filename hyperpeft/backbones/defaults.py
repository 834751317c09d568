"""Which modules an adapter acts on where nobody says so, and which it cannot act on."""

from collections.abc import Collection, Sequence

from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as PEFT_TARGETS
from transformers import PreTrainedModel

from hyperpeft.config import ConfigError

ALL = "all-linear"
EXPERTS = "experts"
# query and value projections of the model types that PEFT's table lacks, or gives as a pattern of whole paths
ATTENTION = {
    "albert": ["query", "value"],
    "clip": ["q_proj", "v_proj"],
    "clip_vision_model": ["q_proj", "v_proj"],
    "cohere": ["q_proj", "v_proj"],
    "deepseek_v3": ["q_b_proj", "kv_b_proj"],
    "dinov2": ["q_proj", "v_proj"],
    "distilbert": ["q_lin", "v_lin"],
    "gpt_oss": ["q_proj", "v_proj"],
    "granite": ["q_proj", "v_proj"],
    "m2m_100": ["q_proj", "v_proj"],
    "marian": ["q_proj", "v_proj"],
    "mbart": ["q_proj", "v_proj"],
    "modernbert": ["Wqkv"],
    "mpnet": ["q", "v"],
    "olmo2": ["q_proj", "v_proj"],
    "phi3": ["qkv_proj"],
    "qwen2_moe": ["q_proj", "v_proj"],
    "qwen3_moe": ["q_proj", "v_proj"],
    "smollm3": ["q_proj", "v_proj"],
    "umt5": ["q", "v"],
    "vit": ["q_proj", "v_proj"],
}


def default_names(model: PreTrainedModel) -> list[str]:
    """PEFT's choice for the model type, else our own, else every linear module."""
    kind = model.config.model_type
    listed = PEFT_TARGETS.get(kind)
    return list(listed) if isinstance(listed, list) else ATTENTION.get(kind, [ALL])


def is_expert(path: str) -> bool:
    """Whether a module or parameter belongs to one of the experts of a mixture."""
    return EXPERTS in path.split(".")


def refuse_experts(model: PreTrainedModel, names: Sequence[str], known: Collection[str]) -> None:
    """Raise ConfigError if the names would take in the experts of a mixture; `known`: names that can be adapted.

    A token visits some of the experts, which breaks the grouping of rows by task, and transformers stores them as
    stacked tensors, not as linear modules.
    """
    experts = [path.removesuffix(".weight").removesuffix(".bias") for path, _ in model.named_parameters()]
    experts = sorted(path for path in experts if is_expert(path))
    ends = {path.rsplit(".", 1)[-1] for path in experts} | {EXPERTS}
    wanted = [name for name in names if name == ALL or name in ends]
    if experts and wanted:
        raise ConfigError(
            f"adapter.targets: {wanted[0]!r} takes in the experts of this mixture ({len(experts)} weights such as "
            f"{experts[0]}), and no adapter kind supports those. Name modules outside of them, of "
            f"{sorted(set(known) - ends)}."
        )
