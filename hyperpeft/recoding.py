"""Label sets renamed to codes that only the description, or the examples, explain."""

import string
from dataclasses import replace
from random import Random

from hyperpeft.tasks import Episode, Example

KEYS = (
    "{code} means {label}",
    "{code} for {label}",
    "answer {code} if it is {label}",
    "{code}: {label}",
    "{code} = {label}",
    "{label} is {code}",
)
CODE_NAMES = ("class", "option", "group")


def recode(episode: Episode, random: Random) -> Episode:
    """The episode with its labels renamed to uninformative codes, and a key appended to each description."""
    labels = len(episode.labels)
    code = dict(zip(random.sample(episode.labels, labels), _codes(labels, random), strict=True))
    key = random.choice(KEYS)
    told = random.choice(["; ", ", "]).join(key.format(code=value, label=label) for label, value in code.items())
    frame = random.choice(["{text} ({told})", "{text} {told}.", "{told}. {text}"])
    return replace(
        episode,
        descriptions=tuple(frame.format(text=text, told=told) for text in episode.descriptions),
        support=tuple(Example(example.input, code[example.output]) for example in episode.support),
        query=tuple(Example(example.input, code[example.output]) for example in episode.query),
        labels=tuple(sorted(code.values())),
        label_descriptions=(),
    )


def _codes(count: int, random: Random) -> list[str]:
    numbers = [str(index + 1) for index in range(count)]
    letters = list(string.ascii_uppercase[:count]) if count <= 26 else numbers
    name = random.choice(CODE_NAMES)
    named = [f"{name} {letter}" for letter in letters]
    return random.choice([letters, numbers, [letter.lower() for letter in letters], named])
