"""The tiny language model: its tokens, what it reads, and that its training can be interrupted."""

import string
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from hyperpeft.adapters import Prompt
from hyperpeft.backbones import CausalLm
from hyperpeft.baselines.prompted import told
from hyperpeft.config import ConfigError, load_config
from hyperpeft.corpora import Procedural
from hyperpeft.objectives import load_adapters
from hyperpeft.pretraining import (
    PretrainConfig,
    Sequences,
    SequenceSettings,
    character_tokenizer,
    code_prompts,
    codes_of,
    pretrain,
    small_llama,
)
from hyperpeft.prompts import Prompt as PromptText
from hyperpeft.tasks import Example, Task, TaskError

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
EXAMPLES = (Example("abc", "cba"), Example("on", "no"), Example("tip", "pit"))


def task(**changes: Any) -> Task:
    fields: dict[str, Any] = {"name": "reverse", "descriptions": ("Spell QQQ.",), "examples": EXAMPLES, **changes}
    return Task(**fields)


def sequences(tasks: list[Task], **settings: Any) -> Sequences:
    tokenizer = character_tokenizer()
    return Sequences(tasks, tokenizer, SequenceSettings(**settings), codes_of(tasks, len(tokenizer)))


def test_every_printable_character_is_a_token_of_its_own(tmp_path: Path) -> None:
    character_tokenizer().save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "".join(character for character in string.printable if character == "\n" or character >= " ")
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert len(set(ids)) == len(ids) == len(text) + 1
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer("é")["input_ids"][1:] == [tokenizer.unk_token_id]


def test_a_sequence_is_what_the_backbone_and_the_in_context_baseline_ask() -> None:
    made = sequences([task()])
    prompt = PromptText(made.tokenizer, "{input}\n", chat=False)
    *shown, asked = EXAMPLES
    for demonstrations in ([], shown):
        text = told("", demonstrations, asked.input, "{input}\n")
        ids, targets = made.row([*demonstrations, asked])
        assert ids == prompt.ids(text, 256) + prompt.answer_ids(asked.output)
        assert targets[-len(asked.output) - 1 :] == prompt.answer_ids(asked.output)
    assert made.tokenizer.decode([token for token in targets if token >= 0]) == "cba\n\nno\n\npit</s>"


def test_codes_of_the_steps_open_a_sequence_without_demonstrations() -> None:
    both = task(name="reverse__then__double")
    made = sequences([task(name="double"), both], coded=1.0, demonstrations=[0])
    first = len(made.tokenizer)
    assert made.codes == {"double": first, "reverse": first + 1}
    opened = {tuple(row[1:3].tolist()) for row in made.batch("a")["ids"] if row[2] >= first}
    assert opened == {(first + 1, first)}
    plain = sequences([task()], coded=0.0, demonstrations=[0]).batch("a")
    shown = sequences([task()], coded=1.0, demonstrations=[2]).batch("a")
    assert max(plain["ids"].max(), shown["ids"].max()) < first


def test_batches_depend_on_their_key_alone_and_keep_their_size() -> None:
    tasks = [task(name=name) for name in ("a", "b", "c")]
    made = sequences(tasks, tokens=100, demonstrations=[0, 2])
    again = sequences(tasks[::-1], tokens=100, demonstrations=[0, 2])
    batches = {key: made.batch(key) for key in map(str, range(8))}
    for key, batch in sorted(batches.items(), reverse=True):
        assert all(torch.equal(value, again.batch(key)[name]) for name, value in batch.items())
        assert batch["ids"].numel() <= 100 + max(batch["ids"].shape)
        assert torch.equal(batch["ids"][batch["targets"] >= 0], batch["targets"][batch["targets"] >= 0])
        assert not (batch["targets"] >= 0)[batch["mask"] == 0].any()
    assert len({batch["ids"].shape for batch in batches.values()}) > 1


def test_long_demonstrations_are_left_out() -> None:
    long = task(examples=tuple(Example(letter * 20, "x") for letter in "abcdef"))
    made = sequences([long], max_tokens=60, demonstrations=[4])
    ids, _ = made._draw(Random(0), 4)
    assert 40 < len(ids) <= 60


def test_tasks_with_labels_are_not_read() -> None:
    with pytest.raises(TaskError, match="0 text-to-text tasks"):
        sequences([task(examples=(Example("a", "yes"),), labels={"yes": "", "no": ""})])


def test_an_unknown_size_is_named() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'hidden_size'"):
        small_llama(character_tokenizer(), {"hiden_size": 8}, seed=0)


def overrides(folder: Path, **changes: Any) -> list[str]:
    settings = {
        "output": folder,
        "steps": 4,
        "every": 2,
        "corpus.tasks": 60,
        "corpus.examples": 16,
        "sequences.tokens": 300,
        **{f"model.{name}": size for name, size in SIZES.items()},
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": "false",
        "trainer.log_every_n_steps": 1,
        **changes,
    }
    return [f"{key}={value}" for key, value in settings.items()]


def run(folder: Path, **changes: Any) -> CausalLm:
    return CausalLm(str(pretrain(load_config(PretrainConfig, [], overrides(folder, **changes)))), dtype="float32")


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_an_interrupted_run_goes_on_to_the_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path / "whole")
    batch = Sequences.batch
    asked: list[str] = []

    def failing(made: Sequences, key: str) -> dict[str, torch.Tensor]:
        asked.append(key)
        if asked.count("0/train/3") == 1 and key == "0/train/3":
            raise RuntimeError("power cut")
        return batch(made, key)

    monkeypatch.setattr(Sequences, "batch", failing)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "parts")
    parts = run(tmp_path / "parts")
    trained = [key for key in asked if "train" in key]
    assert trained == [f"0/train/{number}" for number in (0, 1, 2, 3, 2, 3)]
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, rtol=0, atol=0)
    fresh = small_llama(character_tokenizer(), SIZES, seed=0)
    assert whole.model.config.vocab_size == len(character_tokenizer()) == fresh.config.vocab_size
    assert not torch.equal(whole.model.state_dict()["model.norm.weight"], fresh.state_dict()["model.norm.weight"])


def test_what_the_tasks_were_told_with_is_kept_as_adapters(tmp_path: Path) -> None:
    backbone = run(tmp_path, steps=1, every=1)
    names, known = load_adapters(tmp_path / "letters_backbone" / "codes")
    assert known.backbone == backbone.identity
    assert known.adapter == Prompt(tokens=2, gated=False)  # the begin token and one step
    prompts = dict(known.named())["model:prompt"]
    assert prompts.shape == (len(names), 2, SIZES["hidden_size"])
    begin = backbone.model.get_input_embeddings().weight[backbone.tokenizer.bos_token_id]
    torch.testing.assert_close(prompts[:, 0], begin.expand(len(names), -1), rtol=1e-2, atol=1e-2)
    assert len({tuple(prompt.flatten().tolist()) for prompt in prompts}) == len(names)


def test_a_code_prompt_is_the_begin_token_and_the_codes() -> None:
    embeddings = torch.arange(10.0).reshape(5, 2)
    made = code_prompts(embeddings, 1, {"a": 3, "b": 4}, [task(name="a__then__b"), task(name="b")])
    assert made[..., 0].tolist() == [[2, 6, 8], [2, 2, 8]]


def test_a_folder_of_other_settings_is_not_continued(tmp_path: Path) -> None:
    first = run(tmp_path, steps=1, every=1)
    again = run(tmp_path, steps=1, every=1)
    assert first.identity == again.identity
    with pytest.raises(ConfigError, match="other settings for optim, seed"):
        run(tmp_path, steps=1, every=1, seed=1, **{"optim.lr": 0.1})


def test_it_learns_the_tasks_that_it_reads() -> None:
    corpus = Procedural(tasks=3, examples=20, inputs=["letter"])
    tasks = list(corpus.read())
    made = sequences(tasks, coded=1.0, demonstrations=[0], tokens=600)
    model = small_llama(made.tokenizer, SIZES | {"initializer_range": 0.1}, seed=0, extra=len(made.codes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for step in range(60):
        batch = made.batch(str(step))
        logits = model(input_ids=batch["ids"], attention_mask=batch["mask"]).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["targets"][:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
