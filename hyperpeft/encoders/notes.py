"""What a description says about one label: the words around its mention."""

import re
from collections.abc import Sequence

SENTENCES = r"(?<=[.;?!\n])\s+|[;\n]+"
CLAUSES = (SENTENCES, *(f"{SENTENCES}|{marks}" for marks in (r"[;:()]", r"[,;:()]", r"[,;:()]|\band\b|\bor\b")))


def note(description: str, label: str, labels: Sequence[str]) -> str:
    """The words of the largest pieces of the description that mention this label and no other, without the label.

    Pieces are sentences, then ever smaller clauses, until one belongs to the label alone. Empty if there is none or if
    nothing else is said there. Labels of one or two characters are matched with their case, longer ones without.
    """
    mention = _mention(label)
    if not mention.search(description):
        return ""
    description = re.sub(rf"({mention.pattern})\s*[:=]", r"\1", description, flags=mention.flags)
    others = [_mention(other) for other in labels if other != label and not _mention(other).search(label)]
    for separator in CLAUSES:
        pieces = [piece for piece in re.split(separator, description) if piece and mention.search(piece)]
        told = [mention.sub(" ", piece) for piece in pieces if not any(other.search(piece) for other in others)]
        told = [piece for piece in told if re.search(r"\w", piece)]
        if told:
            return re.sub(r"\s+", " ", re.sub(r"['\"`]{2,}", "", " ".join(told))).strip(" '\"`.,;:()=")
    return ""


def _mention(label: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(label)}(?![\w-])", re.IGNORECASE if len(label) > 2 else 0)
