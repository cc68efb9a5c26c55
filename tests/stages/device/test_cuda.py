"""What is claimed of CUDA, on such a device: vectors, graphs, batches in flight, end of memory.

Tiny random models, so that every kernel runs and nothing is downloaded. What a GPU
computes is held against float32 on the CPU with the same weights, rounded as the GPU
has them. Vectors here tell texts apart: a wrong neighbour costs far more than rounding.
"""

import numpy as np
import pytest
import torch
import trio
from tiny_models import make_batch, pooling, random_texts, write_checkpoint
from transformers import AutoModel

from stages.device.checkpoint.recipe import Recipe
from stages.device.cuda.fused_layers import FusedEncoder
from stages.device.cuda.gpu import CudaGpu
from stages.device.engine import Engine
from stages.device.spec import EngineSpec
from stages.messages.batch import Layout
from stages.threads.worker import WorkerThread

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("default"),  # what compilers advise is no failure of ours
    pytest.mark.timeout(600),  # compiling takes its time
]

COSINE = 0.9995  # of each text to float32 on the same weights
SAME = 0.9998  # cosine of each text to itself in another company or another shape
LIMITS = {"max_tokens_per_batch": 4096, "max_batch_size": 64}
LENGTHS = (1, 30, 7, 7, 2, 60, 30, 16, 41, 1)
MODELS = {  # heads of 32 and of 64 dimensions; windows, grouped queries, causal attention
    "bert of 32": ("bert", "mean", {"hidden_size": 128}),
    "bert of 64": ("bert", "mean", {"hidden_size": 256, "intermediate_size": 512}),
    "xlm-roberta": ("xlm-roberta", "cls", {"hidden_size": 128}),
    "modernbert of 64": ("modernbert", "mean", {"hidden_size": 256}),
    "qwen3": ("qwen3", "lasttoken", {"head_dim": 64}),
    "mistral": ("mistral", "lasttoken", {"head_dim": 32}),
}


def checkpoint(folder, name="bert of 32"):
    kind, mode, changes = MODELS[name]
    dimension = changes.get("hidden_size", 32)
    module = pooling(mode, embedding_dimension=dimension)
    return write_checkpoint(folder, kind, [module], **{"initializer_range": 0.08, **changes})


def engine_of(folder, **choices):
    values = {"device": "cuda", "compiled": False, **LIMITS, **choices}
    return Engine(EngineSpec(folder, Recipe.read(folder), **values))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def run(engine, texts, layout=Layout.PACKED, **choices):
    output = engine.run(make_batch(texts, layout, **choices))
    assert output.broken == ()
    return unit(output.vectors)


def expected(folder, texts, mode, dtype):
    """Each text alone in float32 on the CPU, with weights rounded to ``dtype``."""
    model = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=dtype)
    model = model.float().eval()
    pool = {"mean": lambda x: x.mean(0), "cls": lambda x: x[0], "lasttoken": lambda x: x[-1]}[mode]
    with torch.inference_mode():
        hidden = [model(torch.from_numpy(text).long()[None]).last_hidden_state[0] for text in texts]
    return unit(np.stack([pool(rows).numpy() for rows in hidden]))


def capture_all(engine):
    steps = 1
    while engine.idle():
        steps += 1
    return steps


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", MODELS)
def test_packed_graphs_and_eager_passes_equal_float32(tmp_path, monkeypatch, name, dtype):
    folder, texts = checkpoint(tmp_path, name), random_texts(LENGTHS)
    engine = engine_of(folder, dtype=dtype)
    assert (engine.layout, engine.layout_reason) == (Layout.PACKED, "")
    capture_all(engine)
    before = engine.figures().graph_misses
    graphed = run(engine, texts)
    assert engine.figures().graph_misses == before
    monkeypatch.setattr(engine._executor.graphs, "shape_for", lambda *_: None)
    eager = run(engine, texts)
    assert engine.figures().graph_misses == before + 1
    wanted = expected(folder, texts, MODELS[name][1], getattr(torch, dtype))
    assert (eager * wanted).sum(1).min() >= COSINE
    assert (graphed * wanted).sum(1).min() >= COSINE
    assert (eager * graphed).sum(1).min() >= SAME


@pytest.mark.parametrize("name", MODELS)
def test_no_vector_depends_on_its_neighbours(tmp_path, name):
    engine = engine_of(checkpoint(tmp_path, name))
    capture_all(engine)
    text, *others = random_texts((23, *LENGTHS), seed=3)
    alone = run(engine, [text])[0]
    for company in (others[:2], others, [*others, *random_texts([60] * 12, seed=4)]):
        for texts, place in (([text, *company], 0), ([*company, text], -1)):
            assert run(engine, texts)[place] @ alone >= SAME


@pytest.mark.parametrize("name", ["bert of 32", "modernbert of 64", "mistral"])
def test_the_compiled_model_gives_the_same_and_is_compiled_once(tmp_path, name):
    folder, texts = checkpoint(tmp_path, name), random_texts(LENGTHS)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    engine = engine_of(folder, compiled=True, dtype="bfloat16")
    capture_all(engine)
    assert engine.figures().graphs > 10
    wanted = expected(folder, texts, MODELS[name][1], torch.bfloat16)
    assert (run(engine, texts) * wanted).sum(1).min() >= COSINE
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize(("name", "fused"), [("xlm-roberta", True), ("qwen3", False)])
def test_layers_like_bert_s_run_in_fewer_products(tmp_path, name, fused):
    model = engine_of(checkpoint(tmp_path, name))._encoder.model
    assert any(isinstance(module, FusedEncoder) for module in model.modules()) == fused


def test_every_size_of_batch_comes_out_right(tmp_path):
    """From one token to a full batch, each through the graph that the lattice names."""
    folder = checkpoint(tmp_path)
    engine = engine_of(folder)
    capture_all(engine)
    before = engine.figures().graph_misses
    rng = np.random.default_rng(5)
    seen = []
    for count in (1, 2, 3, 5, 8, 13, 21, 34, 64):
        for longest in (1, 8, 60):
            texts = random_texts(rng.integers(1, longest + 1, count).tolist(), seed=count)
            seen.append((texts, run(engine, texts)))
    assert engine.figures().graph_misses == before
    for texts, found in seen:
        wanted = expected(folder, texts, "mean", torch.bfloat16)
        assert (found * wanted).sum(1).min() >= COSINE


def test_the_gate_opens_with_few_graphs_and_idle_moments_bring_the_rest(tmp_path):
    engine = engine_of(checkpoint(tmp_path))
    first = engine.figures()
    assert first.graphs > 0
    eager = first.graph_misses
    run(engine, random_texts([5]))  # a single short text is hot
    run(engine, random_texts([60] * 64))  # and so is a full batch
    assert engine.figures().graph_misses == eager
    assert capture_all(engine) > 3
    rest = engine.figures()
    assert rest.graphs > first.graphs
    assert rest.graph_bytes >= first.graph_bytes
    assert not engine.idle()


def test_no_garbage_is_collected_while_a_graph_is_captured():
    """Dead engines are cycles: their graphs would be taken apart in the middle of it."""
    found, kept = [], []

    class Cycle:
        def __init__(self):
            self.itself = self

        def __del__(self):
            found.append(torch.cuda.is_current_stream_capturing())

    def body():
        Cycle()
        kept.append([[] for _ in range(100_000)])  # enough for several collections

    CudaGpu(torch.device("cuda:0")).capture(body)
    assert found
    assert not any(found)


def test_prompts_that_are_not_pooled_are_left_out(tmp_path):
    module = pooling("mean", embedding_dimension=128, include_prompt=False)
    folder = write_checkpoint(tmp_path, "bert", [module], hidden_size=128)
    texts = random_texts([12, 30, 9])
    on_gpu, on_cpu = engine_of(folder), engine_of(folder, device="cpu")
    capture_all(on_gpu)
    wanted = run(on_cpu, texts, pool_from=4)
    assert (run(on_gpu, texts, pool_from=4) * wanted).sum(1).min() > 0.999


def test_two_batches_in_flight_end_in_order_with_their_own_vectors(tmp_path):
    engine = engine_of(checkpoint(tmp_path))
    capture_all(engine)
    batches = [random_texts([30] * (10 + n), seed=n) for n in range(6)]
    alone = [run(engine, texts) for texts in batches]
    started = []
    for texts, wanted in zip(batches, alone, strict=True):
        started.append((engine.start(make_batch(texts, Layout.PACKED)), wanted))
        if len(started) == 2:
            pending, first = started.pop(0)
            assert (unit(pending.finish().vectors) * first).sum(1).min() >= SAME
    (last, wanted) = started.pop()
    assert (unit(last.finish().vectors) * wanted).sum(1).min() >= SAME


async def test_in_its_worker_the_engine_captures_when_idle_and_serves_meanwhile(tmp_path, nursery):
    folder = checkpoint(tmp_path)
    made = []

    def make():
        made.append(engine_of(folder))
        return made[0]

    worker = WorkerThread("device", make)
    await nursery.start(worker.run)
    texts = random_texts(LENGTHS)
    wanted = expected(folder, texts, "mean", torch.bfloat16)
    graphs = made[0].figures().graphs
    while made[0].figures().graphs < graphs + 5:
        jobs = [worker.submit(make_batch(texts, Layout.PACKED)) for _ in range(2)]
        done = [await job.wait() for job in jobs]
        for each in done:
            assert (unit(each.value.vectors) * wanted).sum(1).min() >= COSINE
        assert done[0].finished_at <= done[1].started_at
        await trio.sleep(0.05)  # an idle moment, on a real device
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("rows", [8, 11])  # a captured shape, and one that runs eagerly
def test_bucketed_equals_float32(tmp_path, rows):
    folder, texts = checkpoint(tmp_path), random_texts([3, 16, 11, 16, 9, 1, 14, 8])
    sizes = {"buckets": (16,), "batch_sizes": (8, 16)}
    engine = engine_of(folder, layout=Layout.PADDED, dtype="bfloat16", **sizes)
    before = engine.figures().graph_misses
    found = run(engine, texts, Layout.PADDED, width=16, rows=rows)
    assert engine.figures().graph_misses - before == (rows != 8)
    wanted = expected(folder, texts, "mean", torch.bfloat16)
    assert (found * wanted).sum(1).min() >= COSINE


def test_float32_cannot_be_packed_on_cuda_and_says_so(tmp_path):
    engine = engine_of(checkpoint(tmp_path), dtype="float32", buckets=(16,), batch_sizes=(8,))
    assert engine.layout is Layout.PADDED
    assert "needs float16 or bfloat16" in engine.layout_reason


def test_out_of_memory_splits_the_batch_and_lowers_the_ceiling(tmp_path, monkeypatch):
    """The whole batch would take more than the process may have; its halves do not."""
    folder = checkpoint(tmp_path, "bert of 64")
    wide = {"max_tokens_per_batch": 65536, "max_batch_size": 2048}
    engine = engine_of(folder, **wide)
    # A replay allocates nothing: let all of it run eagerly.
    monkeypatch.setattr(engine._executor.graphs, "shape_for", lambda *_: None)
    texts = random_texts([30] * 2000)
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    wanted = run(engine, texts)
    needed = torch.cuda.max_memory_reserved() - held
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((held + 0.75 * needed) / total)
    try:
        found = run(engine, texts)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert (found * wanted).sum(1).min() >= SAME
    assert engine.figures().out_of_memory == 1
    assert engine.figures().max_tokens == 30_000
