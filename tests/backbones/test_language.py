import torch
from conftest import color_episode, size_episode

from hyperpeft.backbones import CausalLm
from hyperpeft.backbones.language import ROWS, chunks
from hyperpeft.tasks import Example


def free(**changes: object):
    return color_episode(labels=(), metric="exact_match", **changes)


def test_chunks_hold_each_row_once_long_ones_together() -> None:
    lengths = [list(range(ROWS)), [5, 1, 3]]
    parts = chunks(lengths)
    assert len(parts) == 2
    for task, group in enumerate(lengths):
        rows = [row for part in parts for row in part[task]]
        assert sorted(rows) == list(range(len(group)))
        assert [group[row] for row in rows] == sorted(group, reverse=True)
    assert all(len(part[0]) * len(lengths) <= ROWS for part in parts)


def test_texts_and_probabilities_come_back_in_order_whatever_the_chunk(llama: CausalLm, monkeypatch) -> None:
    inputs = [text * count for text in "abc" for count in (3, 1, 7)]
    queries = tuple(Example(text, "green") for text in inputs)
    generated, scored = llama.predict([free(query=queries)]), llama.probabilities([color_episode(query=queries)])
    monkeypatch.setattr("hyperpeft.backbones.language.ROWS", 2)
    assert llama.predict([free(query=queries)]) == generated
    torch.testing.assert_close(llama.probabilities([color_episode(query=queries)])[0], scored[0], rtol=1e-4, atol=1e-5)
    assert len({*generated[0]}) > 1


def test_generation_stops_when_every_row_has_ended(llama: CausalLm, monkeypatch) -> None:
    """Rows that level tasks of unequal size do not keep it going."""
    steps: list[int] = []
    forward = llama.model.forward

    def says_the_end(*args: object, **kwargs: object):
        output = forward(*args, **kwargs)
        steps.append(1)
        output.logits[..., llama.tokenizer.eos_token_id] = 1e9
        return output

    monkeypatch.setattr(llama.model, "forward", says_the_end)
    monkeypatch.setattr(llama, "max_new_tokens", 50)
    texts = llama.predict([free(), size_episode(labels=(), metric="exact_match")])
    assert texts == [["", "", ""], ["", ""]]
    assert len(steps) == 1


def test_the_models_own_ends_count(llama: CausalLm, monkeypatch) -> None:
    monkeypatch.setattr(llama.model.generation_config, "eos_token_id", [5, 7])
    assert llama.ends == sorted({5, 7, llama.tokenizer.eos_token_id})
