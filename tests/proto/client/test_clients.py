"""Both clients against an edge."""

import asyncio
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from certificates import Certificates
from edge_fakes import LIMITS, FakeFrontend, running_edge
from penstock.client import AsyncClient, Client, errors, tls_context

from pipeline.security.access import Access, keys_of
from pipeline.security.key_ring import make_key
from stages.requests.lane import Lane

ROOT = Path(__file__).parents[3]


def texts(count):
    return ["x" * (index % 50) for index in range(count)]


def expected(wanted):
    rows = np.arange(8, dtype=np.float64) + np.array([[len(text) + 1] for text in wanted])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embedded(edge, inputs, **options):
    with Client(edge.target) as client:
        return client.embed(inputs, **options)


def test_vectors_come_in_the_order_of_the_inputs():
    wanted = texts(500)
    with running_edge() as edge:
        vectors = embedded(edge, wanted)
        assert len(edge.frontend.submitted) == 8  # 64 items are allowed in a call
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected(wanted), atol=1e-6)


def test_inputs_may_be_of_unknown_number():
    with running_edge() as edge:
        vectors = embedded(edge, iter(texts(200)))
    np.testing.assert_allclose(vectors, expected(texts(200)), atol=1e-6)


def test_ids_may_be_given_in_place_of_texts():
    items = [np.arange(1, n + 1) for n in range(1, 100)]
    with running_edge() as edge:
        vectors = embedded(edge, items, normalize=False)
    assert vectors[:, 0].tolist() == [item.sum() + 1 for item in items]


def test_what_is_asked_for_arrives():
    with running_edge() as edge:
        plain = embedded(
            edge, ["abc"], prompt_name="query", normalize=False, dimensions=3, truncate=False,
            truncate_left=True, bulk=True,
        )  # fmt: skip
        (request, _), *_ = edge.frontend.submitted
    assert plain.tolist() == [[4, 5, 6]]
    assert (request.prompt_name, request.truncate) == ("query", False)
    assert (request.side.name, request.lane) == ("LEFT", Lane.BULK)


def test_what_does_not_exist_cannot_be_asked_for():
    with running_edge() as edge, pytest.raises(TypeError, match="dimension"):
        embedded(edge, ["a"], dimension=3)


def test_asyncio_programs_have_the_same():
    async def both():
        async with AsyncClient(edge.target) as client:
            return await asyncio.gather(client.embed(texts(100)), client.embed(texts(70)))

    with running_edge() as edge:
        first, second = asyncio.run(both())
    np.testing.assert_allclose(first, expected(texts(100)), atol=1e-6)
    np.testing.assert_allclose(second, expected(texts(70)), atol=1e-6)


def test_a_stream_holds_no_more_than_its_calls_in_flight():
    read = count()
    frontend = FakeFrontend()
    with running_edge(frontend) as edge, Client(edge.target, calls_at_once=2) as client:
        stream = client.stream(str(next(read)) for _ in range(10_000))
        rows = len(next(stream).vectors)
        assert rows == 64
        assert next(read) <= 3 * (64 + 1)
        stream.close()
        assert next(read) <= 3 * (64 + 1) + 1


def test_one_client_serves_several_threads():
    with running_edge() as edge, Client(edge.target) as client, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: client.embed(texts(n)), range(60, 80)))
    for n, vectors in zip(range(60, 80), found, strict=True):
        np.testing.assert_allclose(vectors, expected(texts(n)), atol=1e-6)


def test_info_is_flat_and_plain():
    with running_edge() as edge, Client(edge.target) as client:
        facts = client.info()
    assert facts["model_id"] == "fake"
    assert facts["prompt_names"] == ["passage", "query"]
    assert facts["max_items"] == LIMITS.max_items
    assert {type(value) for value in facts.values()} <= {str, int, bool, float, list}


def test_keys_and_tls_are_spoken(tmp_path):
    pki, (key, line) = Certificates(tmp_path), make_key("alice")
    (tmp_path / "keys").write_text(f"{line}\n")
    root = tmp_path / "root.pem"
    root.write_bytes(pki.root_pem())
    options = {"tls": pki.tls().grpc, "access": Access(keys_of(tmp_path / "keys"))}
    with running_edge(**options) as edge:
        with Client(edge.target, api_key=key, tls=tls_context(root)) as client:
            assert client.embed(["a"]).shape == (1, 8)
        with (
            Client(edge.target, tls=tls_context(root)) as client,
            pytest.raises(errors.Unauthenticated),
        ):
            client.embed(["a"])
        with (
            Client(edge.target, api_key=key, tls=True) as client,
            pytest.raises(errors.Unreachable),
        ):
            client.embed(["a"])


def test_closing_ends_what_is_in_flight_and_the_thread():
    frontend = FakeFrontend(hold=True)
    before = threading.active_count()
    with running_edge(frontend) as edge, ThreadPoolExecutor(1) as threads:
        client = Client(edge.target)
        call = threads.submit(client.embed, ["a"])
        frontend.wait_for(lambda frontend: frontend.held)
        client.close()
        client.close()
        with pytest.raises(errors.Closed):
            call.result(20)
        with pytest.raises(errors.Closed):
            client.info()
    assert threading.active_count() == before


def test_the_example_in_readme_does_what_it_says():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (example,) = [block for block in blocks if "penstock.client" in block]
    found = {}
    with running_edge() as edge:
        exec(example.replace("localhost:50051", edge.target), found)  # noqa: S102
    assert (found["vectors"].dtype, found["vectors"].shape) == (np.float32, (2, 8))


def test_it_needs_no_more_than_it_says():
    """So that it can be split off: grpclib (with what that needs), protobuf and numpy."""
    code = (
        "import sys, penstock.client as c; c.Client('localhost').close();"
        "print(*{m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import site; site.main();" + code],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    grpclib = {"grpclib", "h2", "hpack", "hyperframe", "multidict"}
    allowed = {"__main__", "penstock", "numpy", "google"} | grpclib
    # What an environment's own .pth files import is none of ours.
    ours = set(done.stdout.split()) - {"_distutils_hack"}
    assert ours <= allowed


@pytest.mark.parametrize(
    ("inputs", "options", "what"),
    [
        ("some text", {}, "give a list of texts"),
        ([b"some text"], {}, "input 0: neither a text nor"),
        (["a"], {"dimensions": "three"}, "an option that cannot be sent"),
        (["a"], {"dimensions": 1 << 40}, "an option that cannot be sent"),
        (["a"], {"prompt_name": "\udcff"}, "an option that cannot be sent"),
        (["a", "b" * 5000], {}, r"item 1 has \d+ bytes; at most \d+ are allowed$"),
        (["a"] * 65 + ["b" * 5000], {}, r"item 1 .*\(item 0 of that call is input 64\)$"),
    ],
)
def test_what_cannot_be_embedded_is_told(inputs, options, what):
    with running_edge() as edge, pytest.raises(errors.InvalidRequest, match=what):
        embedded(edge, inputs, **options)


@pytest.mark.parametrize(
    ("target", "options", "what"),
    [
        ("http://localhost:1", {}, "not an address; give host:port"),
        ("localhost:1", {"calls_at_once": 0}, "calls_at_once is 0, must be at least 1"),
        ("localhost:1", {"api_key": "k\u00e9y"}, "API key has characters"),
        ("localhost:1", {"api_key": "key\n"}, "API key has characters"),
    ],
)
def test_a_client_that_could_ask_nobody_is_not_made(target, options, what):
    with pytest.raises(errors.InvalidRequest, match=what) as caught:
        Client(target, **options)
    assert "k\u00e9y" not in str(caught.value)


def test_a_connection_that_is_lost_at_once_gets_a_hint(tmp_path):
    pki = Certificates(tmp_path)
    with (
        running_edge(tls=pki.tls().grpc) as edge,
        Client(edge.target, patience_s=0.01) as client,
        pytest.raises(errors.Unreachable, match="is TLS spoken there"),
    ):
        client.embed(["a"])
