"""From a service's methods to gRPC handlers.

They are made from the .proto's descriptors, so that a method that is missing or superfluous is noticed when
the server starts.
"""

from __future__ import annotations

from typing import Any

import grpc

from blindmatch_server.hosting.calls import REFUSALS, Endpoint
from blindmatch_server.hosting.endpoint import Line, Method, ServerContext, Service
from blindmatch_server.hosting.line import LineEndpoint
from blindmatch_server.hosting.rate import TokenBuckets


def handlers_of(service: Service, context: ServerContext) -> grpc.GenericRpcHandler:
    """The gRPC handlers of a service.

    Raises:
        TypeError: if its methods are not those of the descriptor.
    """
    described, methods = {one.name: one for one in service.descriptor.methods}, service.methods()
    if described.keys() != methods.keys():
        differing = sorted(described.keys() ^ methods.keys())
        raise TypeError(f"{service.descriptor.name}: methods differ from the .proto: {differing}")
    refusals = TokenBuckets(REFUSALS, context.clock)
    made = {
        name: Endpoint(context, described[name], method, refusals)
        for name, method in methods.items()
        if isinstance(method, Method)
    }
    lines = {
        name: LineEndpoint(context, described[name], line, refusals, made)
        for name, line in methods.items()
        if isinstance(line, Line)
    }
    handlers = {name: _handler(endpoint) for name, endpoint in (made | lines).items()}
    return grpc.method_handlers_generic_handler(service.descriptor.full_name, handlers)


def _handler(endpoint: Endpoint) -> grpc.RpcMethodHandler[Any, Any]:
    """One that takes a stream and writes its replies itself, whatever the method does (calls.py)."""
    several = endpoint.descriptor.server_streaming
    return grpc.stream_stream_rpc_method_handler(endpoint.to_many if several else endpoint.to_one)
