"""Text encoders as backbones: classes are the label texts and the support examples, so any label set works."""

from typing import Any

from torch import Tensor
from transformers import AutoModel

from hyperpeft.backbones.buckets import Buckets, bucket
from hyperpeft.backbones.pooling import Pooling, read_pooling
from hyperpeft.backbones.pretrained import MINILM, check_length, fast_dtype, load_pretrained, resolve
from hyperpeft.backbones.prototypes import Groups, Prototypes
from hyperpeft.backbones.tokens import Tokens


class Encoder(Prototypes):
    """A frozen text encoder that classifies by cosine to prototypes. The input only is encoded, never a description.

    `pooling="auto"` reads pooling and normalisation from a sentence-transformers folder's own files, else takes the
    mean at unit length; any other name is a mode of `backbones.pooling` at unit length.
    """

    unused = ("pooler",)

    def __init__(
        self,
        model: str = MINILM,
        max_tokens: int = 128,
        dtype: str = "auto",
        pooling: str = "auto",
        trust_remote_code: bool = False,
        gradient_checkpointing: bool = False,
    ):
        loaded, tokenizer = load_pretrained(
            AutoModel, model, dtype=fast_dtype(dtype), trust_remote_code=trust_remote_code
        )
        super().__init__(loaded, tokenizer, model, gradient_checkpointing)
        check_length(loaded, max_tokens)
        self._settings = {
            "model": model,
            "max_tokens": max_tokens,
            "dtype": dtype,
            "pooling": pooling,
            "trust_remote_code": trust_remote_code,
            "gradient_checkpointing": gradient_checkpointing,
        }
        self.tokens = Tokens(tokenizer, max_tokens)
        self.pooling = read_pooling(resolve(model)) if pooling == "auto" else Pooling(pooling)

    def settings(self) -> dict[str, Any]:
        """What builds an equal backbone."""
        return {"kind": "encoder", **self._settings}

    def inputs(self, labels: Groups, examples: Groups, width: int) -> Buckets:
        """Tokens of each task's texts; the features of missing ones, up to `width`, are zeros."""
        groups = [self.tokens([*texts, *inputs]) for texts, inputs in zip(labels, examples, strict=True)]
        return bucket(groups, width, self.tokenizer.pad_token_id or 0)

    def row_features(self, inputs: Buckets) -> Tensor:
        """`[task row d]`."""
        return inputs.joined([self.by_task(self.features, part.tasks, part.ids, part.mask) for part in inputs.parts])

    def features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Pooled features of padded texts, `[row d]` in fp32, under the installed weights."""
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return self.pooling(hidden, mask)
