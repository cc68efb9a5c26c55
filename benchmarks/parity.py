"""Are the vectors right, in any company?

``python -m benchmarks.parity [--texts 1000]``

Texts of 1 to 1,600 tokens, one a call, 32 calls at a time, over real gRPC with the
embedded model, in packed and in bucketed mode. Each vector is held against
sentence-transformers in float32, one text at a time, and the token counts against
the tokenizer's own. Prints the largest differences.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from typing import Final

import grpc
import numpy as np
from numpy.typing import NDArray
from penstock.v1 import embedding_pb2 as pb

from benchmarks.harness.server_process import running_server
from benchmarks.load.embedding_stub import embed_method
from benchmarks.load.texts import mixed_texts, model_folder

AT_ONCE: Final = 32


async def serve_all(target: str, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[int]]:
    """Vectors [texts, dimension] and token counts, by a server."""
    limit = asyncio.Semaphore(AT_ONCE)
    async with grpc.aio.insecure_channel(target) as channel:
        embed = embed_method(channel)

        async def one(text: str) -> pb.EmbedResponse:
            async with limit:
                answer: pb.EmbedResponse = await embed(pb.EmbedRequest(texts=[text]), timeout=120)
                return answer

        responses = await asyncio.gather(*map(one, texts))
    vectors = [np.frombuffer(response.embeddings, np.float32) for response in responses]
    counts = [int(np.frombuffer(response.token_counts, np.int32)[0]) for response in responses]
    return np.stack(vectors), counts


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1000)
    texts = mixed_texts(parser.parse_args().texts, seed=2)

    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - heavy

    oracle = SentenceTransformer(str(model_folder()), device="cpu")
    expected = np.stack([oracle.encode(text, show_progress_bar=False) for text in texts])
    counted = [len(oracle.tokenizer(text, truncation=False)["input_ids"]) for text in texts]
    print(f"{len(texts)} texts of {min(counted)} to {max(counted)} tokens, {AT_ONCE} at a time")
    for batching in ("packed", "bucketed"):
        # A refusal would be no wrong vector, so none is wanted here.
        environment = {"BATCHING": batching, "BACKPRESSURE_THROUGHPUT_ENABLED": "false"}
        with running_server(environment) as server:
            started = time.perf_counter()
            vectors, counts = asyncio.run(serve_all(server.grpc, texts))
            took_s = time.perf_counter() - started
        largest = float(np.abs(vectors - expected).max())
        same = sum(map(int.__eq__, counts, counted))
        print(
            f"{batching}: largest difference {largest:.1e}, {same} of {len(texts)} token counts "
            f"equal, {took_s:.0f} s"
        )


if __name__ == "__main__":
    main()
