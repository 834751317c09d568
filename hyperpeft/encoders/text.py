"""Frozen sentence embeddings of texts, cached in memory and on disk."""

import hashlib
import os
import sqlite3
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hyperpeft.backbones import MINILM, Encoder
from hyperpeft.backbones.pretrained import fast_dtype
from hyperpeft.config import ConfigError

AT_ONCE = 64


class TextEncoder:
    """Sentence embeddings `[text d]` of a frozen encoder model, fp32 of unit length; its token states too.

    Not an nn.Module: nothing of it is trained or checkpointed. Each text is computed by itself, so that its
    embedding does not depend on its company, and kept in an SQLite file
    under `cache` (default: $HYPERPEFT_CACHE, else ~/.cache/hyperpeft). `cache=""` keeps none. Token states are kept in
    memory alone. `together` is faster, for use. `dtype`: what the model computes in; `auto` is bf16 where the CPU does
    that fast, three times as fast for MiniLM, whose embeddings then are about 0.01 away from those of float32.
    """

    def __init__(self, model: str = MINILM, max_tokens: int = 128, cache: str | None = None, dtype: str = "auto"):
        self.model = model
        self._settings = {"model": model, "max_tokens": max_tokens, "dtype": dtype}
        computed_in = fast_dtype(dtype, cpu=True)
        self.encoder = Encoder(model, max_tokens=max_tokens, dtype=str(computed_in).removeprefix("torch."))
        self.d_text: int = self.encoder.model.config.hidden_size
        self.layers: int = self.encoder.model.config.num_hidden_layers
        self._known: dict[str, Tensor] = {}
        self._states: dict[tuple[int, str], Tensor] = {}
        self._store = _Store(_cache_file(self.encoder.identity, max_tokens, computed_in, cache))
        self._near: dict[str, Tensor] = {}
        self._together = False
        self._keeps = True

    def settings(self) -> dict[str, Any]:
        """What builds an equal text encoder, wherever its cache is."""
        return dict(self._settings)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """`[text d_text]` on the CPU."""
        found: Mapping[str, Tensor] = self._known
        unknown = [text for text in dict.fromkeys(texts) if text not in self._known]
        if self._together:
            self._known.update(self._store.read(unknown) if self._keeps else {})
            unknown = [text for text in unknown if text not in self._known]
            made = self._embed_together([text for text in unknown if text not in self._near])
            found = ChainMap(made, self._known, self._near)
            if self._keeps:
                self._near.update(made)
        else:
            self._load(unknown)
        return torch.stack([found[text] for text in texts]) if texts else torch.zeros(0, self.d_text)

    def means(self, groups: Sequence[Sequence[str]]) -> Tensor:
        """`[group d_text]`, the mean embedding of each group of texts, zeros for a group of none; all in one call."""
        parts = torch.split(self([text for group in groups for text in group]), [len(group) for group in groups])
        return torch.stack([part.sum(0) / max(1, len(part)) for part in parts])

    def states(self, texts: Sequence[str], depth: int) -> list[Tensor]:
        """The states of each text's tokens after so many of the model's layers, `[token d_text]` fp32 on the CPU.

        Raises ConfigError where the model has fewer layers.
        """
        if not 0 <= depth <= self.layers:
            raise ConfigError(f"the text encoder {self.model!r} has {self.layers} layers: there is no depth {depth}.")
        found = self._states if self._keeps else dict(self._states)
        for text in texts:
            if (depth, text) not in found:
                found[depth, text] = self._token_states(text, depth)
        return [found[depth, text].float() for text in texts]

    @contextmanager
    def together(self, *, keep: bool = True) -> Iterator[None]:
        """Compute texts that are not known yet in batches of like length: twice as fast, in fp32 equal to about 1e-6.

        Kept in memory, never on disk; `keep=False` keeps none: to measure what new tasks cost.
        """
        before = self._together, self._keeps
        self._together, self._keeps = True, keep and self._keeps
        try:
            yield
        finally:
            self._together, self._keeps = before

    def _load(self, texts: Sequence[str]) -> None:
        self._known.update(self._store.read(texts))
        made = {text: self._embed(text) for text in texts if text not in self._known}
        self._known.update(made)
        self._store.write(made)

    @torch.no_grad()
    def _embed(self, text: str) -> Tensor:
        ids = self._ids(text)
        return self.encoder.features(ids, torch.ones_like(ids))[0]

    @torch.no_grad()
    def _embed_together(self, texts: Sequence[str]) -> dict[str, Tensor]:
        ordered = sorted(texts, key=lambda text: len(self.encoder.tokens([text])[0]))
        made: dict[str, Tensor] = {}
        for first in range(0, len(ordered), AT_ONCE):
            part = ordered[first : first + AT_ONCE]
            features = self.encoder.row_features(self.encoder.inputs([part], [[]], len(part)))[0]
            made.update(zip(part, features.unbind(), strict=True))
        return made

    @torch.no_grad()
    def _token_states(self, text: str, depth: int) -> Tensor:
        """In bf16: there are many, and they are read by a LayerNorm."""
        ids = self._ids(text)
        made = self.encoder.model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
        return made.hidden_states[depth][0].bfloat16()

    def _ids(self, text: str) -> Tensor:
        """`[1 token]`; a single padding token for a text without any."""
        return torch.tensor([self.encoder.tokens([text])[0] or [self.encoder.tokenizer.pad_token_id or 0]])


class _Store:
    """Embeddings by the hash of their text in one SQLite table; nothing is stored where `file` is None."""

    def __init__(self, file: Path | None):
        self.file = file
        if file is not None:
            self._create(file)

    def _create(self, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as connection:
                connection.execute("create table if not exists embedding (text blob primary key, value blob)")
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"the embedding cache {file} cannot be used: {error}. Set HYPERPEFT_CACHE to a folder that can be "
                "written, remove the file if it is damaged, or keep no cache: text_encoder.cache=''."
            ) from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are kept if the `with` ends well, closed in any case."""
        with closing(sqlite3.connect(str(self.file), timeout=60)) as connection, connection:
            yield connection

    def read(self, texts: Sequence[str]) -> dict[str, Tensor]:
        if self.file is None or not texts:
            return {}
        found = {}
        with self._open() as connection:
            for text in texts:
                row = connection.execute("select value from embedding where text = ?", (_key(text),)).fetchone()
                if row:
                    found[text] = torch.from_numpy(np.frombuffer(row[0], dtype=np.float32).copy())
        return found

    def write(self, made: dict[str, Tensor]) -> None:
        if self.file is None:
            return
        rows = [(_key(text), value.numpy().tobytes()) for text, value in made.items()]
        with self._open() as connection:
            connection.executemany("insert or ignore into embedding values (?, ?)", rows)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _cache_file(identity: str, max_tokens: int, dtype: torch.dtype, cache: str | None) -> Path | None:
    if cache == "":
        return None
    folder = Path(cache or os.environ.get("HYPERPEFT_CACHE") or Path.home() / ".cache" / "hyperpeft")
    kind = "" if dtype == torch.float32 else "-" + str(dtype).removeprefix("torch.")
    return folder / f"{identity.rsplit('#')[-1]}-{max_tokens}{kind}.sqlite"
