"""A gRPC client of TEI's, made of stubs alone: ``python tei_client.py TARGET``, stubs on the path.

Reads calls from stdin, as JSON: [service, method, requests]. Writes what came of each:
{"answers": [...], "code": ..., "details": ...}.
"""

import json
import sys

import grpc
import tei_pb2
import tei_pb2_grpc
from google.protobuf.json_format import MessageToDict, ParseDict

TIMEOUT_S = 100


def main():
    (target,) = sys.argv[1:]
    with grpc.insecure_channel(target) as channel:
        found = [ask(channel, *call) for call in json.load(sys.stdin)]
    json.dump(found, sys.stdout)


def ask(channel, service, method, requests):
    described = tei_pb2.DESCRIPTOR.services_by_name[service].methods_by_name[method]
    kind = getattr(tei_pb2, described.input_type.name)
    messages = [ParseDict(request, kind()) for request in requests]
    call = getattr(getattr(tei_pb2_grpc, f"{service}Stub")(channel), method)
    answers, code, details = [], "OK", ""
    try:
        given = iter(messages) if described.client_streaming else messages[0]
        found = call(given, timeout=TIMEOUT_S)
        answers.extend(map(plain, found if described.server_streaming else [found]))
    except grpc.RpcError as error:
        code, details = error.code().name, error.details()
    return {"answers": answers, "code": code, "details": details}


def plain(answer):
    return MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


if __name__ == "__main__":
    main()
