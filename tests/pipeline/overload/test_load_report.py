"""How loaded the server is, in the terms of balancers."""

import struct

import pytest
from core_builders import open_ticket
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from pipeline.overload.load_report import LoadAverages, LoadReport
from stages.errors import InvalidInput, Overloaded
from stages.requests.open_tickets import OpenTickets

DOUBLE = descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE


@pytest.fixture(scope="module")
def orca():
    """The message that balancers know, as far as it is used."""
    file = descriptor_pb2.FileDescriptorProto(name="orca.proto", package="xds.data.orca.v3")
    message = file.message_type.add(name="OrcaLoadReport")
    for name, number in (("rps_fractional", 6), ("eps", 7), ("application_utilization", 9)):
        message.field.add(name=name, number=number, type=DOUBLE, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("xds.data.orca.v3.OrcaLoadReport")
    return message_factory.GetMessageClass(found)


@given(report=st.builds(LoadReport, *[st.floats(0.0, 1e9)] * 3))
def test_protobuf_reads_it(orca, report):
    read = orca.FromString(report.encoded())
    assert (read.application_utilization, read.rps_fractional, read.eps) == (
        report.utilization,
        report.rps,
        report.eps,
    )
    assert read.SerializeToString() == report.encoded()


def test_an_idle_server_says_nothing():
    assert LoadReport().encoded() == b""
    assert struct.unpack("<Bd", LoadReport(utilization=0.5).encoded()) == (0x49, 0.5)


def end(averages, outcome):
    averages.ended(open_ticket(OpenTickets(), 1), outcome, 0.0)


def test_it_settles_at_what_is_so_all_the_time():
    averages = LoadAverages(0.0)
    for number in range(1, 401):
        end(averages, None)
        if number % 4 == 0:
            end(averages, Overloaded("full", reason="x", retry_after_s=1.0))
            end(averages, InvalidInput("no"))
        report = averages.look(0.5, 0.25, number * 0.025)
    assert report.utilization == pytest.approx(0.75, rel=0.01)
    assert report.rps == pytest.approx(60.0, rel=0.05)
    assert report.eps == pytest.approx(10.0, rel=0.1)  # what callers did wrong is no error of ours


def test_a_second_later_the_past_hardly_counts():
    averages = LoadAverages(0.0)
    for number in range(100):
        averages.look(1.0, 0.0, number * 0.1)
    for number in range(100, 130):
        report = averages.look(0.0, 0.0, number * 0.1)
    assert report.utilization < 0.06


def test_two_looks_at_once_are_one():
    averages = LoadAverages(0.0)
    first = averages.look(1.0, 0.0, 1.0)
    assert averages.look(0.0, 0.0, 1.0) is first
