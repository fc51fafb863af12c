"""A small sentence model in this process: BERT over numpy, from the files that such models are published as.

The libraries that usually run these bring gigabytes, and start in seconds. Inference alone is a page of linear algebra.
Source: Devlin et al. 2018 (BERT); Reimers and Gurevych 2019 (mean pooling over tokens); docs/decisions/0011.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from .contract import NotEmbedded

if TYPE_CHECKING:
    from .contract import Vectors

TOKENS_MAX: Final = 128
"""What of a text counts: about 500 characters. Twice as many cost more than twice as much."""
_AT_ONCE: Final = 16


class SentenceModel:
    """The model in a folder. Loading reads all of it: 90 MB for the smallest that are in use."""

    def __init__(self, directory: Path) -> None:
        try:
            config = json.loads((directory / "config.json").read_text())
            _check(directory, config)
            self._weights: Mapping[str, Any] = _named(load_file(directory / "model.safetensors"))
            self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
            self._heads = int(config["num_attention_heads"])
            self._layers = int(config["num_hidden_layers"])
            self._epsilon = float(config.get("layer_norm_eps", 1e-12))
            self._tokenizer.enable_truncation(min(TOKENS_MAX, int(config["max_position_embeddings"])))
            self._tokenizer.enable_padding(pad_id=int(config.get("pad_token_id", 0)))
            self.encode(["a first text finds out whether all weights are there"])
        except NotEmbedded:
            raise
        except Exception as error:  # files of any kind may stand there, and each library has errors of its own
            raise NotEmbedded(f"the sentence model in {directory} can't be used: {error!r}") from error

    def encode(self, texts: Sequence[str]) -> "Vectors":
        """The vectors of some texts, a few at a time. It keeps a processor busy: tens of milliseconds a text."""
        by_length = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # so that little is padded
        made: list[Any] = [None] * len(texts)
        for start in range(0, len(texts), _AT_ONCE):
            places = by_length[start : start + _AT_ONCE]
            for place, vector in zip(places, self._encode([texts[place] for place in places]), strict=True):
                made[place] = vector
        return np.array(made, dtype=np.float32)

    def _encode(self, texts: Sequence[str]) -> "Vectors":
        encoded = self._tokenizer.encode_batch(list(texts))
        tokens = np.array([one.ids for one in encoded])
        mask = np.array([one.attention_mask for one in encoded], dtype=np.float32)
        w = self._weights
        state = w["embeddings.word_embeddings.weight"][tokens] + w["embeddings.token_type_embeddings.weight"][0]
        state = self._norm(
            state + w["embeddings.position_embeddings.weight"][: tokens.shape[1]], "embeddings.LayerNorm"
        )
        for layer in range(self._layers):
            state = self._layer(state, mask, f"encoder.layer.{layer}")
        pooled = (state * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        length = np.linalg.norm(pooled, axis=1, keepdims=True)
        return np.asarray(pooled / np.maximum(length, 1e-12), dtype=np.float32)

    def _layer(self, state: Any, mask: Any, name: str) -> Any:
        rows, tokens, width = state.shape

        def heads(part: str) -> Any:
            made = self._linear(state, f"{name}.attention.self.{part}")
            return made.reshape(rows, tokens, self._heads, width // self._heads).transpose(0, 2, 1, 3)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(width // self._heads)
        scores += (1.0 - mask[:, None, None, :]) * np.float32(-1e9)
        seen = _softmax(scores) @ value
        attended = self._linear(
            seen.transpose(0, 2, 1, 3).reshape(rows, tokens, width), f"{name}.attention.output.dense"
        )
        state = self._norm(state + attended, f"{name}.attention.output.LayerNorm")
        inner = _gelu(self._linear(state, f"{name}.intermediate.dense"))
        return self._norm(state + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _linear(self, state: Any, name: str) -> Any:
        return state @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, state: Any, name: str) -> Any:
        apart = state - state.mean(axis=-1, keepdims=True)
        spread = (apart * apart).mean(axis=-1, keepdims=True)
        scaled = apart / np.sqrt(spread + np.float32(self._epsilon))
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _check(directory: Path, config: Any) -> None:
    kind, act = config.get("model_type"), config.get("hidden_act", "gelu")
    if kind != "bert" or act != "gelu":
        raise NotEmbedded(
            f"the model in {directory} is of the kind {kind!r} ({act}); only BERT with gelu is known here"
        )
    pooling = directory / "1_Pooling" / "config.json"
    if pooling.is_file() and not json.loads(pooling.read_text()).get("pooling_mode_mean_tokens", False):
        raise NotEmbedded(
            f"the model in {directory} does not pool by the mean of its tokens, which is all that is known here"
        )


def _named(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The weights in single precision, by the names that they have without the model's own in front."""
    return {name.removeprefix("bert."): weight.astype(np.float32, copy=False) for name, weight in weights.items()}


def _softmax(scores: Any) -> Any:
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def _gelu(values: Any) -> Any:
    """x times the normal distribution's share below x. Its error function is Abramowitz, Stegun 7.1.26: to 1.5e-7."""
    x = np.abs(values) * np.float32(0.70710678)
    t = 1.0 / (1.0 + np.float32(0.3275911) * x)
    rest = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    half_erf = np.float32(0.5) * np.sign(values) * (1.0 - rest * np.exp(-x * x))
    return values * (np.float32(0.5) + half_erf)
