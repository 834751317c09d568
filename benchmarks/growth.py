"""How the cost of a meta-training step, and of drawing its episodes, grows with the work: a table and a figure.

python benchmarks/growth.py                             # outputs/growth/growth.md and growth.png
python benchmarks/growth.py --hidden 512 --layers 8 --tokens 64 --repeats 9 --output elsewhere

Steps are those of step_cost.py on a random Llama shape, as ratios to the frozen backbone's own step of the same batch.
Sampling and start-up are CPU milliseconds against the number of tasks in the corpus: drawing a meta-batch, preparing
the draws, and reading the description embeddings of 8 tasks, in a new process as it were, from a cache of all tasks.
Exits with 1 if a ratio is worse than its regression bound.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
from matplotlib.figure import Figure
from measure import Spread, Target, parsed, parser, random_llama, show, verdict
from step_cost import Case, costs
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from hyperpeft.encoders import TextEncoder
from hyperpeft.episodes import EpisodeSettings, EpisodeSource
from hyperpeft.tasks import Example, Task

STEP = Target("step time at the largest number of tasks a batch", goal=1.25)
SAMPLING = Target("drawing a meta-batch, most tasks / fewest", goal=1.5)
LOOK_UP = Target("reading 8 embeddings from the cache, most tasks / 10", goal=1.5)
DRAWS, READS, BATCH = 20, 10, 8
Point = tuple[float, Spread, float]


def variations(one: Case, layers: int) -> dict[str, list[tuple[int, Case]]]:
    """Name of what grows -> (its value, the step)."""
    projections = (("q_proj",), ("q_proj", "v_proj"), ("q_proj", "k_proj", "v_proj", "o_proj"), ("all-linear",))
    counts = [len(names) * layers if names != ("all-linear",) else 7 * layers for names in projections]
    return {
        "tasks a batch": [(n, replace(one, tasks=n, rows=32 // n)) for n in (1, 2, 4, 8, 16, 32)],
        "rank": [(n, replace(one, rank=n)) for n in (1, 4, 8, 16, 32, 64)],
        "tokens": [(n, replace(one, tokens=n)) for n in (16, 32, 64, 128, 256)],
        "targets": [(n, replace(one, targets=names)) for n, names in zip(counts, projections, strict=True)],
        "hypernetwork width": [(n, replace(one, d_hidden=n)) for n in (32, 64, 128, 256, 512)],
    }


def steps(options: Namespace) -> dict[str, list[Point]]:
    """Of each variation: value, time ratio, saved-memory ratio."""
    one = Case(tasks=8, rows=4, tokens=options.tokens)
    with TemporaryDirectory() as folder:
        backbone = random_llama(folder, hidden=options.hidden, layers=options.layers)
    found: dict[str, list[Point]] = {}
    for name, cases in variations(one, options.layers).items():
        for value, case in cases[: options.points]:
            cost = costs(backbone, case, options.repeats)["hyperpeft"]
            found.setdefault(name, []).append((value, cost.time, cost.memory))
    return found


def small_text_encoder(folder: Path) -> TextEncoder:
    """A text encoder that embeds quickly: the cache around it is what is measured."""
    if not (folder / "bert").exists():
        sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
        BertModel(BertConfig(vocab_size=8, **sizes)).save_pretrained(folder / "bert")
        tokenizer = Tokenizer(WordLevel({"<pad>": 0, "<unk>": 1}, unk_token="<unk>"))
        tokenizer.pre_tokenizer = Whitespace()
        made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
        made.save_pretrained(folder / "bert")
    return TextEncoder(str(folder / "bert"), cache=str(folder))


def made_up_tasks(count: int) -> list[Task]:
    """Tasks with two labels and 64 examples, ten a family."""
    return [
        Task(
            name=f"task {number}",
            descriptions=(f"Say what {number} is.",),
            examples=tuple(Example(f"text {index} of task {number}", "ab"[index % 2]) for index in range(64)),
            labels={"a": "", "b": ""},
            family=f"family {number // 10}",
        )
        for number in range(count)
    ]


def corpus_costs(count: int, repeats: int) -> dict[str, float]:
    """CPU milliseconds, medians: of start-up, of one meta-batch's draw, of reading 8 embeddings from a full cache."""
    tasks = made_up_tasks(count)
    times: dict[str, list[float]] = {"start-up": [], "draw": [], "embeddings": reading_costs(tasks)}
    for repeat in range(repeats + 1):
        begun = process_time()
        source = EpisodeSource(tasks, EpisodeSettings(no_description=0.0, codes=0.0), seed=repeat)
        started = process_time()
        drawn = [*source.batches(DRAWS)]
        ended = process_time()
        times["start-up"].append(1000 * (started - begun))
        times["draw"].append(1000 * (ended - started) / len(drawn))
    return {name: float(np.median(values[1:])) for name, values in times.items()}


def reading_costs(tasks: Sequence[Task]) -> list[float]:
    """CPU milliseconds of reading the embeddings of at most 8 tasks, others each time, with none known."""
    texts = [task.descriptions[0] for task in tasks]
    spans = []
    with TemporaryDirectory() as folder:
        small_text_encoder(Path(folder))(texts)
        for read in range(READS):
            text, chosen = small_text_encoder(Path(folder)), Random(read).sample(texts, min(BATCH, len(texts)))
            begun = process_time()
            text(chosen)
            spans.append(1000 * (process_time() - begun))
    return spans


def markdown(points: Mapping[str, Sequence[Point]], corpora: Mapping[int, Mapping[str, float]]) -> str:
    lines = ["| grows | to | time ratio (quartiles) | saved memory ratio |", "|---|---|---|---|"]
    lines += [f"| {name} | {n} | {time} | {memory:.2f} |" for name, own in points.items() for n, time, memory in own]
    lines += ["", "| training tasks | start-up, ms | drawing a meta-batch, ms | reading 8 embeddings, ms |"]
    lines += ["|---|---|---|---|"]
    lines += [f"| {n} | {c['start-up']:.2f} | {c['draw']:.2f} | {c['embeddings']:.2f} |" for n, c in corpora.items()]
    return "\n".join(lines) + "\n"


def figure(points: Mapping[str, Sequence[Point]], corpora: Mapping[int, Mapping[str, float]]) -> Figure:
    drawn = Figure(figsize=(10, 5.6), layout="constrained")
    *axes, corpus = drawn.subplots(2, 3).flat
    for axis, (name, own) in zip(axes, points.items(), strict=True):
        values, times, memory = [n for n, _, _ in own], [time for _, time, _ in own], [memory for _, _, memory in own]
        axis.plot(values, [time.median for time in times], "o-", label="time")
        axis.fill_between(values, [time.low for time in times], [time.high for time in times], alpha=0.3)
        axis.plot(values, memory, "s--", label="saved memory")
        axis.set(xlabel=name, ylabel="ratio to the frozen step", xscale="log", ylim=(0.9, None))
        axis.set_xticks(values, [str(value) for value in values])
        axis.minorticks_off()
    axes[0].legend()
    for part in ("start-up", "draw", "embeddings"):
        corpus.plot(list(corpora), [found[part] for found in corpora.values()], "o-", label=part)
    corpus.set(xlabel="training tasks", ylabel="CPU milliseconds", xscale="log", yscale="log")
    corpus.legend()
    return drawn


def main(argv: Sequence[str] | None = None) -> int:
    made = parser(__doc__, repeats=3)
    made.add_argument("--hidden", type=int, default=256)
    made.add_argument("--layers", type=int, default=4)
    made.add_argument("--tokens", type=int, default=32)
    made.add_argument("--points", type=int, default=6, help="of each curve at most")
    made.add_argument("--corpora", type=int, nargs="+", default=[1, 10, 100, 1000, 5000], help="numbers of tasks")
    made.add_argument("--output", type=Path, default=Path("outputs/growth"))
    options = parsed(made, argv)
    points = steps(options)
    corpora = {count: corpus_costs(count, options.repeats) for count in options.corpora}
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "growth.md").write_text(markdown(points, corpora), encoding="utf-8")
    figure(points, corpora).savefig(options.output / "growth.png", dpi=120)
    rows = [(name, n, time, f"{memory:.2f}") for name, own in points.items() for n, time, memory in own]
    show("steps", ("grows", "to", "time ratio (quartiles)", "saved memory ratio"), rows)
    rows = [(n, *(f"{found[part]:.2f}" for part in ("start-up", "draw", "embeddings"))) for n, found in corpora.items()]
    show("corpora, CPU ms", ("training tasks", "start-up", "drawing a meta-batch", "reading 8 embeddings"), rows)
    print(f"written: {options.output / 'growth.md'}, {options.output / 'growth.png'}")
    few, most = corpora[min(corpora)], corpora[max(corpora)]
    enough = corpora[min((count for count in corpora if count > BATCH), default=max(corpora))]
    return verdict(
        [
            (STEP, points["tasks a batch"][-1][1].median),
            (SAMPLING, most["draw"] / few["draw"]),
            (LOOK_UP, most["embeddings"] / enough["embeddings"]),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
