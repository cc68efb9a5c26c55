"""What a scrape reads, for tests."""

from attrs import define

from pipeline.interface.status import LoadSnapshot, ModelInfo, RequestLimits


@define
class FakeBoard:
    snapshot: LoadSnapshot
    model: ModelInfo | None = None
    limits: RequestLimits | None = None


def read(metrics, name, **labels):
    value = metrics.registry.get_sample_value(f"penstock_{name}", labels)
    assert value is not None, f"no series {name} {labels}"
    return value
