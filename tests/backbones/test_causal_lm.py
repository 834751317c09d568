import torch
from conftest import color_episode, size_episode

from hyperpeft.adapters import Lora
from hyperpeft.backbones import CausalLm
from hyperpeft.tasks import Example


def text_episode(**changes: object):
    return color_episode(labels=(), metric="exact_match", **changes)


def test_loss_equals_transformers_own_on_the_output_tokens(llama: CausalLm) -> None:
    example = Example("grass", "green")
    prompt, answer = llama.prompt.ids("grass", 60), llama.prompt.answer_ids("green")
    ids = torch.tensor([prompt + answer])
    labels = torch.tensor([[-100] * len(prompt) + answer])
    with torch.no_grad():
        expected = llama.model(input_ids=ids, labels=labels).loss
        ours = llama.loss(llama.query_batch([text_episode(query=(example,)), text_episode()]))[0]
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_the_answer_ends_with_the_end_of_sequence(llama: CausalLm) -> None:
    assert llama.prompt.answer_ids("ab")[-1] == llama.tokenizer.eos_token_id


def test_generation_is_greedy_and_the_same_in_any_company(llama: CausalLm) -> None:
    weights = llama.start(Lora(rank=2), tasks=2).map(lambda leaf: leaf + 0.1)
    episodes = [text_episode(), size_episode(labels=(), metric="exact_match")]
    with llama.adapted(weights):
        together = llama.predict(episodes)
    with llama.adapted(weights[1]):
        assert llama.predict(episodes[1:]) == together[1:]
    assert [len(texts) for texts in together] == [3, 2]

    ids = torch.tensor([llama.prompt.ids("ant", 60)])
    made: list[int] = []
    with llama.adapted(weights[1]), torch.no_grad():
        for _ in range(4):
            logits = llama.model(input_ids=torch.cat([ids, torch.tensor([made], dtype=torch.long)], 1)).logits
            made.append(int(logits[0, -1].argmax()))
            if made[-1] == llama.tokenizer.eos_token_id:
                break
    assert together[1][0] == llama.tokenizer.decode(made, skip_special_tokens=True).strip()


def test_label_scores_are_mean_token_log_probabilities(llama: CausalLm) -> None:
    episode = color_episode(query=(Example("frog", "green"),))
    with torch.no_grad():
        losses = [
            llama.loss(llama.query_batch([text_episode(query=(Example("frog", label),))]))[0]
            for label in episode.labels
        ]
    expected = (-torch.stack(losses)).softmax(0)
    torch.testing.assert_close(llama.probabilities([episode])[0][0], expected, rtol=1e-4, atol=1e-5)


def test_a_chat_template_is_used_where_the_tokenizer_has_one(folders) -> None:
    chatty = CausalLm(str(folders["llama"]), dtype="float32")
    chatty.tokenizer.chat_template = (
        "{% for m in messages %}({{ m['role'] }}) {{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}(assistant){% endif %}"
    )
    assert chatty.prompt.before("hello") == "(user) hello(assistant)"
    assert CausalLm(str(folders["llama"]), dtype="float32", template="Q: {input} A:").prompt.before("hi") == "Q: hi A:"
