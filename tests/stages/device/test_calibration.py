"""Which batches are run to learn a device's cost, and when it stops."""

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from stages.device.calibration import REPETITIONS, WARM_UP_S, calibrated, measure, shapes_of
from stages.device.spec import EngineSpec
from stages.load.cost_model import CostModel

SPEC = EngineSpec()


@define
class ModelledDevice:
    """Takes the time of its model; the first run of each shape takes twice that."""

    cost: CostModel
    ran: list = field(factory=list)

    def run(self, shape):
        first = shape not in self.ran
        self.ran.append(shape)
        return self.cost.seconds(shape.work) * (2.0 if first else 1.0)

    @property
    def took_s(self):
        return sum(self.cost.seconds(shape.work) for shape in self.ran)


def test_a_fast_device_runs_every_shape_and_is_known_exactly():
    device = ModelledDevice(CostModel(1e-3, 1e-7, 1e-10))
    shapes = shapes_of(SPEC, longest=512, captured=False)
    found = calibrated(device.run, shapes)
    assert device.ran == [shape for shape in shapes for _ in range(REPETITIONS)]
    assert abs(found.square_s / 1e-10 - 1.0) < 1e-3


@given(token_s=st.floats(1e-6, 0.05))
def test_a_slow_device_runs_what_fits_and_nothing_much_longer(token_s):
    device = ModelledDevice(CostModel(0.0, token_s, 0.0))
    measure(device.run, shapes_of(SPEC, longest=512, captured=False))
    shortest_s = 2 * token_s * SPEC.buckets[0]
    assert device.took_s <= max(2 * WARM_UP_S, shortest_s)
    assert device.ran


def test_one_shape_runs_however_slow_the_device_is():
    device = ModelledDevice(CostModel(100.0, 0.0, 0.0))
    assert calibrated(device.run, shapes_of(SPEC, longest=512, captured=False)).fixed_s > 0.0
    assert len(device.ran) == 1


@given(
    max_tokens=st.integers(1, 40_000),
    max_items=st.integers(1, 600),
    longest=st.sampled_from([8, 100, 512, 8192]),
    buckets=st.sampled_from([(16,), (16, 32), (16, 32, 64, 128, 256, 512), (16, 512, 8192)]),
)
def test_shapes_are_within_a_batch_and_grow(max_tokens, max_items, longest, buckets):
    spec = EngineSpec(buckets=buckets, max_tokens_per_batch=max_tokens, max_batch_size=max_items)
    shapes = shapes_of(spec, longest=longest, captured=False)
    tokens = [shape.work.tokens for shape in shapes]
    assert tokens == sorted(tokens)
    assert len(set(shapes)) == len(shapes) > 0
    assert all(shape.length in (*buckets, longest) and shape.texts <= max_items for shape in shapes)
    assert all(shape.length <= longest for shape in shapes)
    assert all(total <= max(max_tokens, buckets[0]) for total in tokens)


def test_where_graphs_were_captured_only_their_sizes_are_run():
    spec = EngineSpec(batch_sizes=(8, 16, 32, 64, 128))
    shapes = shapes_of(spec, longest=512, captured=True)
    assert {shape.texts for shape in shapes} <= set(spec.batch_sizes)
    assert {shape.length for shape in shapes} <= set(spec.buckets)


def test_a_sample_has_the_shape_and_ids_of_the_vocabulary():
    shape = shapes_of(SPEC, longest=512, captured=False)[-1]
    sample = shape.sample(vocabulary=100)
    assert sample.ids.work == shape.work
    assert sample.ids.lengths.tolist() == [shape.length] * shape.texts
    assert 0 <= sample.ids.flat.min() <= sample.ids.flat.max() < 100
