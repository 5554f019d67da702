"""What programs ask for, through Gradio's client and over plain HTTP."""

from __future__ import annotations

import inspect
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from gradio_client import Client

from utils import generate_text, load_tokenizer


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[Client]:
    client = Client(server.url, verbose=False)
    yield client
    client.close()


def over_http(server: Any, endpoint: str, **arguments: Any) -> tuple[str, str]:
    """(what happened, what was said) of a call over plain HTTP."""
    call = f"{server.url}/gradio_api/call/v2/{endpoint}"
    body = json.dumps(arguments).encode()
    request = urllib.request.Request(call, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{call}/{event}", timeout=60) as answer:
        lines = answer.read().decode().strip().split("\n")
    return lines[-2].removeprefix("event: "), lines[-1].removeprefix("data: ")


def test_four_endpoints_and_no_other(client: Client) -> None:
    published = client.view_api(return_format="dict", print_info=False)
    assert list(published["named_endpoints"]) == [
        "/generate", "/compare", "/next_tokens", "/measure",
    ]  # fmt: skip
    assert not published["unnamed_endpoints"]
    returned = {
        name: endpoint["returns"][0]["type"]["type"]
        for name, endpoint in published["named_endpoints"].items()
    }
    assert returned == {
        "/generate": "string", "/compare": "object", "/next_tokens": "array", "/measure": "object",
    }  # fmt: skip


def test_generate(client: Client, make_service: Any, trained: Any) -> None:
    trio = (make_service().model, *load_tokenizer(trained.tokenizer))
    wanted = generate_text(*trio, "Казан", temperature=1.5, seed=3)
    assert client.predict("Казан", temperature=1.5, seed=3, api_name="/generate") == wanted


def test_generate_has_the_defaults_of_generate_text(client: Client) -> None:
    """The names must stand in both; that they mean the same is seen here."""
    published = client.view_api(return_format="dict", print_info=False)
    defaults = {
        parameter["parameter_name"]: parameter["parameter_default"]
        for parameter in published["named_endpoints"]["/generate"]["parameters"]
        if parameter["parameter_has_default"]
    }
    assert defaults.pop("language") == "en"
    own = inspect.signature(generate_text).parameters
    assert defaults == {name: own[name].default for name in own if name in defaults}
    missing = own.keys() - defaults.keys() - {"prompt"}
    assert missing == {"model", "tokenizer", "tok_config", "stop"}


def test_compare(client: Client) -> None:
    texts = client.predict("Казан", seed=1, api_name="/compare")
    assert list(texts) == ["careful", "balanced", "bold"]
    assert all(text.startswith("Казан ") for text in texts.values())
    assert client.predict("Казан", seed=1, api_name="/compare") == texts


def test_next_tokens(client: Client) -> None:
    tokens = client.predict("Казан шәһәре матур һәм зур башкала", 3, api_name="/next_tokens")
    assert [list(token) for token in tokens] == [["id", "text", "probability"]] * 3
    assert tokens[0]["probability"] > 0.9
    assert [token["probability"] for token in tokens] == sorted(
        (token["probability"] for token in tokens), reverse=True
    )


def test_measure(client: Client) -> None:
    known = client.predict("Казан шәһәре матур һәм зур башкала.", api_name="/measure")
    unknown = client.predict("Былтыр күлмәк юдым.", api_name="/measure")
    assert known["bits_per_character"] < 1 < unknown["bits_per_character"]
    assert known["perplexity"] < unknown["perplexity"]
    text = "".join(piece["text"] for piece in known["pieces"])
    assert text == "Казан шәһәре матур һәм зур башкала."


@pytest.mark.parametrize(
    ("endpoint", "arguments", "words"),
    [
        ("generate", {"prompt": "а" * 2001, "language": "tt"}, "артык озын"),
        (
            "generate",
            {"prompt": "а", "max_new_tokens": 401},
            "400 new tokens; you asked for 401",
        ),
        (
            "generate",
            {"prompt": "а", "temperature": -1.0, "top_k": 0},
            "temperature -1.0",
        ),
        ("generate", {"prompt": "а", "max_new_tokens": "many"}, "max_new_tokens 'many'"),
        ("generate", {"prompt": 5}, "5: must be text"),
        ("generate", {"prompt": None, "language": ["ru"]}, "None: must be text"),
        ("compare", {"prompt": ["а"]}, "must be text"),
        (
            *("compare", {"prompt": "а", "seed": -3, "language": "ru"}),
            "Недопустимые настройки: seed -3",
        ),
        ("generate", {"prompt": "а", "max_new_tokens": 10**30}, "you asked for 1000000"),
        ("next_tokens", {"prompt": "а" * 20_001}, "too long"),
        ("next_tokens", {"prompt": "а", "k": 0}, "from 1 to 100"),
        ("next_tokens", {"prompt": "а", "k": "x"}, "from 1 to 100"),
        ("measure", {"text": " \n\t"}, "Enter a text"),
        ("measure", {"text": "", "language": "tt"}, "Башта берәр текст"),
        ("measure", {"text": {"а": 1}}, "must be text"),
    ],
)
def test_what_is_refused_is_explained(
    endpoint: str, arguments: dict[str, Any], words: str, server: Any
) -> None:
    event, said = over_http(server, endpoint, **arguments)
    assert event == "error"
    assert words in json.loads(said)["error"]
    assert server.health()["in_line"] == 0


@pytest.mark.parametrize(
    "prompt",
    ["", "<bos><eos>", "\ud800 Казан", "\x00\x07", "日本語 👩\u200d👩\u200d👧", "<b>**а**</b>"],
)
def test_any_text_is_answered(prompt: str, server: Any) -> None:
    event, said = over_http(server, "generate", prompt=prompt, max_new_tokens=5)
    assert event == "complete", said
    assert json.loads(said)[0].startswith(prompt.replace("\ud800", "\ufffd"))
    event, said = over_http(server, "generate", prompt=prompt, max_new_tokens=0)
    assert (event, json.loads(said)[0]) == ("complete", prompt.replace("\ud800", "\ufffd"))
    event, said = over_http(server, "next_tokens", prompt=prompt, k=3)
    assert event == "complete", said


def test_more_than_may_wait_are_told_so_and_the_others_served(slow_model: Any, serve: Any) -> None:
    with serve(slow_model, at_once=1, waiting=3) as server, ThreadPoolExecutor(12) as pool:
        asked = {"prompt": "Казан", "max_new_tokens": 40, "stop_at_eos": False}
        calls = [pool.submit(over_http, server, "generate", **asked) for _ in range(12)]
        answers = [call.result() for call in calls]
        served = [said for event, said in answers if event == "complete"]
        refused = [json.loads(said)["error"] for event, said in answers if event == "error"]
        assert len(served) >= 4
        assert refused
        assert len(refused) + len(served) == 12
        assert all("Too many people" in words for words in refused)
        assert server.health()["in_line"] == 0


def status_of(url: str, body: bytes | None = None, kind: str = "application/json") -> int:
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd", "gradio_api/file=models/best_model.pt",
        "gradio_api/file=http://nowhere.invalid/x", "gradio_api/proxy=http://nowhere.invalid/x",
        "gradio_api/deep_link?session_hash=x", "gradio_api/runs", "monitoring", "?page=x",
        "monitoring/summary", "?p%61ge=x", "?deep_link=x", "gradio_api/upload_progress?upload_id=x",
    ],
)  # fmt: skip
def test_what_gradio_offers_besides_is_closed(path: str, server: Any) -> None:
    assert status_of(f"{server.url}/{path}") == 404


def test_no_file_comes_in(server: Any) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\na\r\n--x--\r\n'
    )
    kind = "multipart/form-data; boundary=x"
    assert status_of(f"{server.url}/gradio_api/upload", body, kind) == 404
    # Gradio would download this address.
    file = {"path": "http://nowhere.invalid/x", "meta": {"_type": "gradio.FileData"}}
    for data in (file, [file], {"a": [{"b": file}]}):
        body = json.dumps({"prompt": data}).encode()
        for changed in (body, body.replace(b"gradio", rb"gr\u0061dio")):
            assert status_of(f"{server.url}/gradio_api/call/v2/generate", changed) == 400
    event, _ = over_http(server, "generate", prompt="gradio.FileData", max_new_tokens=1)
    assert event == "complete"  # as a text it is as good as any other


@pytest.mark.parametrize(
    ("endpoint", "body", "status"),
    [
        ("generate", b"{}", 400),
        ("generate", b'{"prompt": "a", "colour": 1}', 400),
        ("nothing", b'{"prompt": "a"}', 400),
        ("generate", b"[" * 100_000, 400),
        ("generate", b"not JSON", 400),
        ("generate", b"", 422),
        ("generate", b'{"prompt": "' + b"a" * 1_000_001 + b'"}', 413),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    endpoint: str, body: bytes, status: int, server: Any
) -> None:
    assert status_of(f"{server.url}/gradio_api/call/v2/{endpoint}", body) == status


def test_health(server: Any) -> None:
    health = server.health()
    assert health["device"] == "cpu"
    assert health["model"].endswith("best_model.pt")
    assert health["step"] > 0
    assert 0 < health["uptime"] <= server.health()["uptime"]
