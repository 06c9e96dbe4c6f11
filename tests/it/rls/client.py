"""Asks a rate limit service for what it can do, and then does it. Nothing here knows the messages: reflection tells them."""

import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool

try:  # Named so since protobuf 4.22.
    from google.protobuf.message_factory import GetMessageClass
except ImportError:
    from google.protobuf.message_factory import MessageFactory

    GetMessageClass = MessageFactory().GetPrototype

SERVICE = "envoy.service.ratelimit.v3.RateLimitService"


def field(number, payload):
    """One length-delimited field, by hand."""
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload


def fields(message):
    """The fields of a message, by hand: of every length-delimited one its number and its bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 2:
            length = varint()
            yield tag >> 3, message[at : at + length]
            at += length
        elif tag & 7 == 0:
            varint()
        else:
            raise ValueError(f"wire type {tag & 7}")


def reflect(channel, version, request):
    call = channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
    return next(call(iter([request])))


def main(address):
    channel = grpc.insecure_channel(address)
    for version in ("v1", "v1alpha"):
        listed = dict(fields(reflect(channel, version, field(7, b""))))[6]
        names = sorted(dict(fields(service))[1].decode() for number, service in fields(listed) if number == 1)
        print(version, *names)

    pool = descriptor_pool.DescriptorPool()
    known = set()

    def learn(request):
        answer = dict(fields(reflect(channel, "v1", request)))[4]
        for _, encoded in fields(answer):
            file = descriptor_pb2.FileDescriptorProto.FromString(encoded)
            if file.name in known:
                continue
            known.add(file.name)
            for other in file.dependency:
                if other not in known:
                    learn(field(3, other.encode()))
            pool.Add(file)

    learn(field(4, SERVICE.encode()))
    method = pool.FindServiceByName(SERVICE).methods_by_name["ShouldRateLimit"]
    request_class, response_class = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    should_rate_limit = channel.unary_unary(
        f"/{SERVICE}/ShouldRateLimit",
        request_serializer=request_class.SerializeToString,
        response_deserializer=response_class.FromString,
    )
    for domain, user in [("edge", "a"), ("edge", "a"), ("edge", "a"), ("edge", "b"), ("other", "a"), ("", "a")]:
        request = request_class(domain=domain)
        request.descriptors.add().entries.add(key="user", value=user)
        try:
            told = should_rate_limit(request, timeout=10)
        except grpc.RpcError as error:
            print(domain, user, error.code().name, error.details())
            continue
        status = told.statuses[0]
        code = told.DESCRIPTOR.enum_types_by_name["Code"].values_by_number[told.overall_code].name
        fields_to_add = sorted(header.key for header in told.response_headers_to_add)
        print(domain, user, code, status.current_limit.requests_per_unit, status.limit_remaining, *fields_to_add)

    health = channel.unary_unary("/grpc.health.v1.Health/Check")
    print("health", health(field(1, SERVICE.encode()), timeout=10).hex())
    try:
        channel.unary_unary("/no.such.Service/Call")(b"", timeout=10)
    except grpc.RpcError as error:
        print(error.code().name)


main(sys.argv[1])
