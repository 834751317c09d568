"""Servers that load LoRA adapters: what they accept, and loading and unloading on a running one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch
from safetensors.torch import load_file

from hyperpeft.config import did_you_mean

EMBEDDINGS = ("lm_head", "embed_tokens", "wte", "score", "classifier")


@dataclass(frozen=True)
class Server:
    """What a server accepts, and the paths with which it loads and unloads adapters while it runs.

    max_rank: its default; max_ranks: the values that its option takes, None for any.
    """

    max_rank: int
    max_ranks: tuple[int, ...] | None
    option: str
    load: str
    unload: str
    needs: str


# vLLM: vllm/lora/peft_helper.py, vllm/config/lora.py and docs "LoRA adapters", "Dynamically serving LoRA adapters".
# SGLang: srt/lora/lora_config.py and docs "LoRA serving". Read on their sources and documents, not run.
SERVERS: Mapping[str, Server] = MappingProxyType(
    {
        "vllm": Server(
            16,
            (1, 8, 16, 32, 64, 128, 256, 320, 512),
            "--max-lora-rank",
            "/v1/load_lora_adapter",
            "/v1/unload_lora_adapter",
            "--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True",
        ),
        "sglang": Server(16, None, "--max-lora-rank", "/load_lora_adapter", "/unload_lora_adapter", "--enable-lora"),
    }
)


def problems(folder: Path, server: str, *, max_rank: int | None = None) -> list[str]:
    """What would make the server refuse a PEFT folder or compute something else with it, in words; none if nothing.

    `max_rank`: the server's own limit, where it is not the default. Raises ValueError for an unknown server.
    """
    rules = rules_of(server)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if config["peft_type"] != "LORA":
        return [f"it serves LoRA only; this is {config['peft_type']}. Merge the adapter: format 'merged'."]
    return [
        *_rank_problems(config["r"], rules, max_rank),
        *_setting_problems(config),
        *_tensor_problems(load_file(folder / "adapter_model.safetensors")),
    ]


def rules_of(server: str) -> Server:
    """What a server accepts. Raises ValueError for one that is not in SERVERS."""
    if server not in SERVERS:
        raise ValueError(f"there is no server {server!r} to check for. {did_you_mean(server, SERVERS)}")
    return SERVERS[server]


def _rank_problems(rank: int, rules: Server, max_rank: int | None) -> list[str]:
    limit = rules.max_rank if max_rank is None else max_rank
    if rank <= limit:
        return []
    fitting = rank if rules.max_ranks is None else next((size for size in rules.max_ranks if size >= rank), None)
    remedy = "generate with a smaller rank" if fitting is None else f"start it with {rules.option} {fitting}"
    return [f"rank {rank} is above the limit of {limit}: {remedy}."]


def _setting_problems(config: Mapping[str, Any]) -> list[str]:
    found = []
    if config["bias"] != "none" or config["lora_bias"]:
        found.append("biases are not served.")
    if config["use_dora"]:
        found.append("DoRA is not served: merge the adapter (format 'merged').")
    if config["modules_to_save"]:
        found.append(f"whole modules are not served: {config['modules_to_save']}.")
    if config["rank_pattern"] or config["alpha_pattern"]:
        found.append("ranks or scales by module are ignored or refused.")
    outer = sorted(set(config["target_modules"]) & set(EMBEDDINGS))
    if outer:
        found.append(f"adapters on {outer} are not served.")
    if config["task_type"] != "CAUSAL_LM":
        found.append(f"it serves language models; this adapter's task type is {config['task_type']}.")
    return found


def _tensor_problems(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    found = [f"{name} holds values that are no numbers." for name, t in tensors.items() if not t.isfinite().all()]
    strange = sorted({str(tensor.dtype) for tensor in tensors.values()} - {f"torch.{n}" for n in DTYPES})
    if strange:
        found.append(f"tensors of {', '.join(strange)} are not read; {', '.join(DTYPES)} are.")
    return found


DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class LoraServer:
    """A running OpenAI-compatible server that loads LoRA adapters while it runs (vLLM, SGLang).

    url: as far as the port, `http://localhost:8000`. Tested against a stub of the documented paths, not against the
    servers themselves. Raises ConnectionError with the server's own words where it refuses.
    """

    url: str
    server: str = "vllm"
    api_key: str | None = None
    timeout: float = 60.0

    def load(self, name: str, folder: str | Path) -> None:
        """Load a PEFT folder, as the server sees the path, under the name that requests give as `model`."""
        self._post(rules_of(self.server).load, {"lora_name": name, "lora_path": str(folder)})

    def unload(self, name: str) -> None:
        """Forget the adapter."""
        self._post(rules_of(self.server).unload, {"lora_name": name})

    def models(self) -> list[str]:
        """Names that requests may give as `model`: base models and adapters."""
        return [model["id"] for model in json.loads(self._send("/v1/models", None))["data"]]

    def _post(self, path: str, body: Mapping[str, str]) -> None:
        self._send(path, json.dumps(body).encode())

    def _send(self, path: str, body: bytes | None) -> str:
        headers = {"Content-Type": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        request = Request(self.url.rstrip("/") + path, data=body, headers=headers)
        try:
            with urlopen(request, timeout=self.timeout) as answer:
                return str(answer.read().decode())
        except HTTPError as error:
            reason = " ".join(error.read().decode(errors="replace").split())[:300]
            hint = f" It must run with {rules_of(self.server).needs}." if error.code == 404 else ""
            raise ConnectionError(f"{request.full_url} answered {error.code}: {reason}{hint}") from error
        except URLError as error:
            raise ConnectionError(f"{request.full_url} does not answer: {error.reason}. Is the server up?") from error
