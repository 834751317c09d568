"""What descriptions say about each label: the words that stand with it, and with no other."""

import re
from collections.abc import Mapping, Sequence

SENTENCES = r"(?<=[.;?!\n])\s+|[;\n]+"
CLAUSES = tuple(f"{SENTENCES}|{marks}" for marks in (r"[;:()]", r"[,;:()]", r"[,;:()]|\band\b|\bor\b"))


def notes(descriptions: Sequence[str], labels: Sequence[str]) -> list[list[str]]:
    """For each label what the descriptions say about it, sorted; nothing for any unless they say something about each.

    A sentence with one label belongs to it as a whole. One with several is cut into ever smaller clauses until each of
    them has words of its own on a side that all have in common ("A means praise, B means blame"): what only lists them
    ("Answer with A or B, please") says nothing. Labels are left out of the words. Those of one or two characters are
    matched with their case, longer ones without.
    """
    mentions = {label: _mention(label) for label in sorted(labels, key=len, reverse=True)}
    told: dict[str, list[str]] = {label: [] for label in labels}
    for description in descriptions:
        for sentence in re.split(SENTENCES, description):
            for label, words in _shared_out(sentence, mentions).items():
                told[label] += words
    return [sorted(told[label]) if all(told.values()) else [] for label in labels]


def _shared_out(sentence: str, mentions: Mapping[str, re.Pattern[str]]) -> dict[str, list[str]]:
    """The words of a sentence for each label that it mentions; empty where it only lists labels."""
    inside = _labels_in(sentence, mentions)
    if len(inside) == 1:
        words = _without(sentence, mentions[inside[0]])
        return {inside[0]: [words]} if words else {}
    for label in inside:
        sentence = re.sub(rf"({mentions[label].pattern})\s*[:=]", r"\1", sentence, flags=mentions[label].flags)
    for separator in CLAUSES if inside else ():
        told: dict[str, list[str]] = {label: [] for label in inside}
        sides: dict[str, set[str]] = {label: set() for label in inside}
        for clause in filter(None, re.split(separator, sentence)):
            if len(found := _labels_in(clause, mentions)) == 1:
                (label,) = found
                before, after = mentions[label].split(clause, maxsplit=1)
                sides[label] |= {side for side, text in (("before", before), ("after", after)) if _says(text)}
                told[label] += filter(None, [_without(clause, mentions[label])])
        if all(told.values()):
            return told if set.intersection(*sides.values()) else {}
    return {}


def _labels_in(text: str, mentions: Mapping[str, re.Pattern[str]]) -> list[str]:
    """The labels mentioned, longest first; a label within a longer one is not."""
    found = []
    for label, mention in mentions.items():
        text, times = mention.subn("\0", text)
        if times:
            found.append(label)
    return found


def _without(text: str, mention: re.Pattern[str]) -> str:
    words = re.sub(r"\s+", " ", re.sub(r"['\"`]{2,}", "", mention.sub(" ", text))).strip(" '\"`.,;:()=")
    return words if _says(words) else ""


def _says(text: str) -> bool:
    return re.search(r"(?!\b(and|or)\b)\b\w", text) is not None


def _mention(label: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(label)}(?![\w-])", re.IGNORECASE if len(label) > 2 else 0)
