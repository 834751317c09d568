"""What descriptions say about each label: the words that stand with it, and with no other."""

import re
from collections.abc import Iterator, Sequence

NAMES = {
    "+": "plus",
    "-": "minus",
    "?": "question mark",
    "!": "exclamation mark",
    "#": "hash|number sign",
    "*": "star|asterisk",
    "~": "tilde",
    "@": "at sign",
    "&": "ampersand",
    "%": "per ?cent sign",
    "^": "caret",
    "=": "equals sign",
    "/": "slash",
    ".": "full stop|period",
    ",": "comma",
    "0": "zero",
    "1": "one|first",
    "2": "two|second",
    "3": "three|third",
    "4": "four|fourth",
    "5": "five|fifth",
    "6": "six|sixth",
    "7": "seven|seventh",
    "8": "eight|eighth",
    "9": "nine|ninth",
}
POLAR = (("yes", "no"), ("true", "false"), ("correct", "incorrect"), ("right", "wrong"))
OTHERWISE = "something else"
ASKED = r"\b(?:whether|if)\b([^.;?!\n]*)"
MARK = "[\ue000-\uf8ff]"
SENTENCE_ENDS = r"(?<=[.;?!\n])\s+|[;\n]+"
CLAUSE_ENDS = (r"[;:()]", r"[,;:()]", r"[,;:()]|\band\b|\bor\b")
SEPARATORS = r"\s*,\s*(?:(?:and|or)\b\s*)?|\s+(?:and|or)\s+"
LISTED = rf"{MARK}(?:(?:{SEPARATORS}){MARK})+"
ORDERED = (
    r"\b(?:in (?:the|that|this|the same) order(?: of)?|in turn|respectively|stands? for|they mean|these being|that is|"
    r"by whether|for whether)\b"
)
CHUNK_ENDS = rf"[.;:?!()\n]|{ORDERED}|{MARK}"


def notes(descriptions: Sequence[str], labels: Sequence[str]) -> list[list[str]]:
    """For each label what the descriptions say about it, sorted; nothing for any unless they say something about each.

    A sentence with one label belongs to it as a whole, and so does the question that a sentence of one label alone
    answers. Brackets after a label ("A (praise)") or around one ("praise (A)") tell the two apart from the rest. A
    sentence with several labels is cut into ever smaller clauses until each of them has words of its own on a side
    that all have in common ("A means praise, B means blame"): what only lists them ("Answer with A or B, please") says
    nothing, unless a list of as many things is said to have the same order ("praise or blame? A or B, in that order").
    Where nothing is said of labels that affirm and deny (POLAR) it is what they answer ("whether the guest is angry",
    "Is the guest angry?"), and OTHERWISE. (The denial of what is asked lies too near to it as a sentence embedding.)
    Labels are left out of the words. Those of one or two characters are matched with their case, longer ones without;
    a sign or digit that is not there itself by its English name ("a plus").
    """
    told: list[list[str]] = [[] for _ in labels]
    for description in descriptions:
        marked = _marked(description, labels)
        said: list[list[str]] = [[] for _ in labels]
        for sentence in _sentences(_without_brackets(marked)):
            for mark, words in _shared_out(sentence).items():
                said[_index(mark)] += words
        for words, own in zip(told, said if all(said) else _in_order(marked, len(labels)) or said, strict=True):
            words += own
    told = told if all(told) else _answers(descriptions, labels)
    return [sorted(words) for words in told]


def _answers(descriptions: Sequence[str], labels: Sequence[str]) -> list[list[str]]:
    """For a label that affirms what is asked, for one that denies OTHERWISE as often; nothing for other labels."""
    bare = [re.sub(r"\W", "", label).lower() for label in labels]
    pair = next((pair for pair in POLAR if sorted(pair) == sorted(bare)), None)
    if pair is None:
        return [[] for _ in labels]
    denies = chr(0xE000 + bare.index(pair[1]))
    asked = [words for description in descriptions if (words := _asked(_marked(description, labels), denies))]
    return [asked if label == pair[0] else [OTHERWISE for _ in asked] for label in bare]


def _asked(text: str, denies: str) -> str:
    """What stands behind the first "whether" or "if" of a text, or else its first question; may be empty.

    Behind "if" in a sentence of the label that denies alone ("no if it can wait") stands something else.
    """
    others = [part for part in re.split(SENTENCE_ENDS, text) if set(re.findall(MARK, part)) != {denies}]
    if found := re.search(ASKED, "\n".join(others), flags=re.IGNORECASE):
        return _words(found[1])
    before, mark, _ = text.partition("?")
    return _words(re.split(r"[.;!\n]", before)[-1]) if mark else ""


def _marked(text: str, labels: Sequence[str]) -> str:
    """The text with one private character in place of each mention of a label, longer labels first."""
    text = re.sub(MARK, " ", text)
    for label in sorted(labels, key=len, reverse=True):
        flags = re.IGNORECASE if len(label) > 2 else 0
        mark = chr(0xE000 + labels.index(label))
        text, times = re.subn(rf"(?<![\w-])['\"`]*{re.escape(label)}['\"`]*(?![\w-])", mark, text, flags=flags)
        if not times and label in NAMES:
            text = re.sub(rf"\b(?:an? |the )?(?:{NAMES[label]})\b", mark, text, flags=re.IGNORECASE)
    return text


def _index(mark: str) -> int:
    return ord(mark) - 0xE000


def _without_brackets(text: str) -> str:
    """Labels with words in brackets behind them, or in brackets behind words, as sentences of their own."""
    text = re.sub(rf"(?<![^.;:?!()\n])([^.;:?!()\n]*)\(\s*({MARK})\s*\)", r";\1 \2;", text)
    return re.sub(rf"({MARK})\s*\(([^()]*)\)", r";\1 \2;", text)


def _sentences(text: str) -> Iterator[str]:
    """Sentences; one that is a label and nothing else goes with the one before, where that has none."""
    before = ""
    for sentence in filter(str.strip, re.split(SENTENCE_ENDS, text)):
        if re.search(MARK, before) or not re.search(MARK, sentence) or _words(sentence):
            yield before
            before = sentence
        else:
            before = f"{before} {sentence}"
    yield before


def _shared_out(sentence: str) -> dict[str, list[str]]:
    """The words of a sentence for each mark in it; empty where it only lists them."""
    inside = set(re.findall(MARK, sentence))
    if len(inside) == 1:
        return {inside.pop(): [words]} if (words := _words(sentence)) else {}
    sentence = re.sub(rf"({MARK})\s*[:=]", r"\1", sentence)
    for ends in CLAUSE_ENDS if inside else ():
        told: dict[str, list[str]] = {mark: [] for mark in inside}
        sides: dict[str, set[str]] = {mark: set() for mark in inside}
        for clause in re.split(ends, sentence):
            if len(found := set(re.findall(MARK, clause))) == 1:
                (mark,) = found
                before, after = clause.split(mark, maxsplit=1)
                sides[mark] |= {side for side, text in (("before", before), ("after", after)) if _words(text)}
                told[mark] += filter(None, [_words(clause)])
        if all(told.values()):
            return told if set.intersection(*sides.values()) else {}
    return {}


def _in_order(text: str, count: int) -> list[list[str]]:
    """For each label the thing at its place in the one list of as many things; empty without a list of all labels.

    What stands before the first thing and behind the last is cut to the length of the longest of the others.
    """
    listed = [found for found in re.findall(LISTED, text) if len(set(re.findall(MARK, found))) == count]
    if not listed or not re.search(ORDERED, text, re.IGNORECASE):
        return []
    chunks = re.split(CHUNK_ENDS, text, flags=re.IGNORECASE)
    parts = [[words for part in re.split(SEPARATORS, chunk) if (words := _words(part))] for chunk in chunks]
    lists = [part for part in parts if len(part) == count]
    marks = re.findall(MARK, listed[0])
    if len(lists) != 1 or len(marks) != count:
        return []
    things = [thing.split() for thing in lists[0]]
    things[0] = things[0][-max(map(len, things[1:])) :]
    things[-1] = things[-1][: max(map(len, things[:-1]))]
    placed = dict(zip(map(_index, marks), things, strict=True))
    return [[" ".join(placed[index])] for index in range(count)]


def _words(text: str) -> str:
    """The text without labels, marks around it and a conjunction before it; empty where no word is left."""
    words = re.sub(r"\s+", " ", re.sub(MARK, " ", text)).strip(" '\"`.,;:?!()=-")
    words = re.sub(r"^(?:and|or)\b|\b(?:and|or)$", "", words).strip(" ,")
    return words if re.search(r"\w", words) else ""
