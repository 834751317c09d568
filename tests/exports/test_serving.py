"""What is checked before serving, and loading on a stub of the documented endpoints, not the servers themselves."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from export_checks import KINDS, load_backbone, make
from safetensors.torch import load_file, save_file

from hyperpeft.adapters import Dora, Ia3, Lora
from hyperpeft.exports import write_export
from hyperpeft.exports.serving import SERVERS, LoraServer, problems


def folder(folders: dict[str, Path], path: Path, kind: Any = KINDS["rslora"], model: str = "llama") -> Path:
    path.mkdir()
    write_export(make(load_backbone(folders[model]), kind), path, "peft")
    return path


def changed(path: Path, **settings: Any) -> Path:
    file = path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    return path


@pytest.mark.parametrize("server", sorted(SERVERS))
def test_our_exports_of_lora_pass(folders: dict[str, Path], server: str, tmp_path: Path) -> None:
    assert problems(folder(folders, tmp_path / "a"), server) == []


def test_a_rank_above_the_limit_names_the_option(folders: dict[str, Path], tmp_path: Path) -> None:
    path = folder(folders, tmp_path / "a", Lora(rank=20))
    assert problems(path, "vllm") == ["rank 20 is above the limit of 16: start it with --max-lora-rank 32."]
    assert problems(path, "sglang") == ["rank 20 is above the limit of 16: start it with --max-lora-rank 20."]
    assert problems(path, "vllm", max_rank=32) == []
    assert "generate with a smaller rank" in problems(changed(path, r=600), "vllm")[0]


def test_what_servers_do_not_take_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    assert "serves LoRA only; this is IA3" in problems(folder(folders, tmp_path / "ia3", Ia3()), "vllm")[0]
    assert "DoRA is not served" in problems(folder(folders, tmp_path / "dora", Dora(rank=2)), "sglang")[0]
    assert "serves language models" in problems(folder(folders, tmp_path / "bert", model="bert"), "vllm")[0]
    path = folder(folders, tmp_path / "a")
    for setting, message in (
        ({"bias": "all"}, "biases"),
        ({"modules_to_save": ["score"]}, r"whole modules are not served: ['score']"),
        ({"rank_pattern": {"q_proj": 4}}, "ranks or scales by module"),
        ({"target_modules": ["lm_head", "q_proj"]}, "adapters on ['lm_head']"),
    ):
        before = (path / "adapter_config.json").read_text()
        (found,) = problems(changed(path, **setting), "vllm")
        assert message in found
        (path / "adapter_config.json").write_text(before)
    tensors = load_file(path / "adapter_model.safetensors")
    name = sorted(tensors)[0]
    save_file({**tensors, name: tensors[name].double() * torch.nan}, path / "adapter_model.safetensors")
    assert [text.split()[0] for text in problems(path, "vllm")] == [name, "tensors"]
    with pytest.raises(ValueError, match=r"no server 'vlm' to check for\. Did you mean 'vllm'"):
        problems(path, "vlm")


# ---- loading on a running server


class Stub(BaseHTTPRequestHandler):
    """vLLM's and SGLang's documented paths for adapters, as far as we use them."""

    adapters: dict[str, str]
    heard: list[tuple[str, str | None]]

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, code: int, body: Any) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self) -> None:
        assert self.path == "/v1/models"
        self.answer(200, {"object": "list", "data": [{"id": name} for name in ("base", *self.adapters)]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.heard.append((self.path, self.headers["Authorization"]))
        if self.path in ("/v1/load_lora_adapter", "/load_lora_adapter"):
            if not Path(body["lora_path"]).is_dir():
                return self.answer(400, {"error": {"message": f"No adapter found for {body['lora_path']}"}})
            self.adapters[body["lora_name"]] = body["lora_path"]
            return self.answer(200, "Success")
        if self.path in ("/v1/unload_lora_adapter", "/unload_lora_adapter") and body["lora_name"] in self.adapters:
            del self.adapters[body["lora_name"]]
            return self.answer(200, "Success")
        return self.answer(404, {"error": "not found"})


@pytest.fixture
def stub() -> Iterator[tuple[str, type[Stub]]]:
    handler: type[Stub] = type("Handler", (Stub,), {"adapters": {}, "heard": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("server", sorted(SERVERS))
def test_an_adapter_is_loaded_and_unloaded(
    stub: tuple[str, type[Stub]], server: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    url, handler = stub
    path = folder(folders, tmp_path / "a b")
    running = LoraServer(url + "/", server, api_key="secret")
    running.load("colours", path)
    assert handler.adapters == {"colours": str(path)}
    assert running.models() == ["base", "colours"]
    running.unload("colours")
    assert running.models() == ["base"]
    assert handler.heard == [(SERVERS[server].load, "Bearer secret"), (SERVERS[server].unload, "Bearer secret")]


def test_refusals_are_in_the_servers_words(stub: tuple[str, type[Stub]]) -> None:
    running = LoraServer(stub[0])
    with pytest.raises(ConnectionError, match=r"load_lora_adapter answered 400: .*No adapter found for /nowhere"):
        running.load("a", "/nowhere")
    with pytest.raises(ConnectionError, match=r"answered 404.*VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        running.unload("a")
    with pytest.raises(ConnectionError, match=r"does not answer.*Is the server up"):
        LoraServer("http://127.0.0.1:9").load("a", "b")
