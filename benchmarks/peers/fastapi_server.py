"""The usual wrapper: sentence-transformers behind FastAPI; runs in an environment of its own.

``python fastapi_server.py MODEL_FOLDER PORT``. A call is one ``encode`` in the
thread pool, with the library's own batches of 32, sorted by length within the call.
"""

import base64
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer


class Request(BaseModel):
    """What OpenAI's clients send."""

    input: list[str]
    model: str = ""
    encoding_format: str = "float"


def application(folder: str) -> FastAPI:
    """One route."""
    model, app = SentenceTransformer(folder, device="cpu"), FastAPI()

    def embeddings(request: Request) -> dict[str, Any]:
        vectors = model.encode(request.input, show_progress_bar=False)
        rows = [
            base64.b64encode(row.tobytes()).decode()
            if request.encoding_format == "base64"
            else row.tolist()
            for row in vectors
        ]
        data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(rows)]
        return {"object": "list", "data": data, "model": request.model}

    app.add_api_route("/embeddings", embeddings, methods=["POST"])
    return app


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning"
    )
