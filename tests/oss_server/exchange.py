"""One request on one connection, from its headers to the last byte of its answer, and what the faults do to it."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count
from math import inf
from typing import NoReturn, TypeVar

from tests.oss_server import errors, faults, xml
from tests.oss_server.actions import carry_out, refusal
from tests.oss_server.counting import Seen
from tests.oss_server.faults import Effect, Faults, When
from tests.oss_server.objects import Version
from tests.oss_server.operations import Kind, operation_of, target_of
from tests.oss_server.pacing import Network
from tests.oss_server.signature import Key, check_signature
from tests.oss_server.store import Call, Store
from tests.oss_server.wire import Answer, Connection, Disconnected, FilePart, Request

E = TypeVar("E", bound=Effect)
HANG_POLL_S = 0.02
READS = (Kind.GET, Kind.HEAD)


class BrokenOff(Exception):
    """The connection is to be reset now."""


class Outage(Enum):
    REFUSE = "nobody listens; connections there were are cut"
    HANG = "connections are taken, requests read, nothing answered"
    ERRORS = "every answer is 503"


@dataclass(kw_only=True)
class Service:
    """What all connections share. `network`, `outage`, `keys` may be changed at any time."""

    store: Store
    faults: Faults
    keys: dict[str, Key]
    host: str
    network: Network = field(default_factory=Network)
    outage: Outage | None = None
    hang_generation: int = 0  # one more lets go of what hangs
    hanging: set[int] = field(default_factory=set)  # threads; add() and discard() are atomic
    closing: threading.Event = field(default_factory=threading.Event)
    request_numbers: Iterator[int] = field(default_factory=lambda: count(1))  # next() of it is atomic


def serve_one(service: Service, connection: Connection, request: Request) -> None:
    """Raises Disconnected and BrokenOff; else the connection may serve the next."""
    bucket, key = target_of(request.path)
    try:
        operation, refused = operation_of(request), None
    except errors.OssError as exc:
        operation, refused = None, exc
    effects = service.faults.effects_of(operation, method=request.method, bucket=bucket, key=key)
    seen = Seen(
        operation=operation,
        bucket=bucket,
        key=key,
        range=request.headers.get("range", ""),
        at_s=service.store.clock.wall_s(),
    )
    service.store.counts.add(seen)
    in_before, out_before, began_s = connection.bytes_in, connection.bytes_out, time.monotonic()
    try:
        _wait(service, connection, effects)
        pieces = _spoilt_pieces(connection.pieces(request), request, effects)
        if refused is None and operation is not None:
            call = Call(operation=operation, bucket=bucket, key=key, request=request, pieces=pieces)
            answer = _answered(service, _spoilt_call(call, effects), effects, seen)
        else:
            assert refused is not None
            answer = _refused(service, refused, request.method)
        try:
            for _ in pieces:
                pass
            seen.took_s = time.monotonic() - began_s
            seen.bytes_in = connection.bytes_in - in_before
            _send(connection, answer, effects, seen)
        finally:
            answer.close()
    finally:
        seen.bytes_in, seen.bytes_out = connection.bytes_in - in_before, connection.bytes_out - out_before
    if request.headers.get("connection", "").lower() == "close":
        raise Disconnected


def _of(effects: list[Effect], kind: type[E]) -> E | None:
    return next((effect for effect in effects if isinstance(effect, kind)), None)


def _resets(effects: list[Effect], when: When) -> bool:
    return any(isinstance(effect, faults.Reset) and effect.when is when for effect in effects)


def _wait(service: Service, connection: Connection, effects: list[Effect]) -> None:
    """What comes before the request is executed. Raises BrokenOff."""
    slow = _of(effects, faults.Slow)
    for link in (connection.up, connection.down):
        link.network, link.exchange_bytes_s = service.network, slow.bytes_s if slow else inf
    delay_s = service.network.latency_s + sum(one.seconds for one in effects if isinstance(one, faults.Delay))
    if delay_s:
        service.closing.wait(delay_s)
    hang = _of(effects, faults.Hang)
    if service.outage is Outage.HANG or (hang is not None and not hang.executed):
        _hang(service)
    if _resets(effects, When.BEFORE):
        raise BrokenOff


def _hang(service: Service) -> NoReturn:
    """Until somebody lets go of it. Raises BrokenOff."""
    generation = service.hang_generation
    service.hanging.add(threading.get_ident())
    while not service.closing.wait(HANG_POLL_S) and generation == service.hang_generation:
        pass
    service.hanging.discard(threading.get_ident())
    raise BrokenOff


def _spoilt_pieces(
    pieces: Iterator[memoryview], request: Request, effects: list[Effect]
) -> Iterator[memoryview]:  # fmt: skip
    size_bytes = int(request.headers.get("content-length", "0"))
    flip = _of(effects, faults.FlipReceived)
    if flip is not None and size_bytes:
        pieces = _flipped_pieces(pieces, flip.bit % (8 * size_bytes))
    return _cut_pieces(pieces, size_bytes // 2) if _resets(effects, When.UPLOADING) else pieces


def _flipped_pieces(pieces: Iterator[memoryview], bit: int) -> Iterator[memoryview]:
    for piece in pieces:
        if 0 <= bit < 8 * len(piece):
            piece[bit // 8] ^= 1 << bit % 8
        bit -= 8 * len(piece)
        yield piece


def _cut_pieces(pieces: Iterator[memoryview], size_bytes: int) -> Iterator[memoryview]:
    for piece in pieces:
        if len(piece) > size_bytes:
            raise BrokenOff
        size_bytes -= len(piece)
        yield piece
    raise BrokenOff


def _spoilt_call(call: Call, effects: list[Effect]) -> Call:
    """A read that finds something else."""
    if call.operation.kind not in READS:
        return call
    swap = _of(effects, faults.Swap)
    if swap is not None:
        call = replace(call, key=swap.key)
    if _of(effects, faults.IgnoreRange):
        headers = {name: text for name, text in call.request.headers.items() if name != "range"}
        call = replace(call, signed=call.request, request=replace(call.request, headers=headers))
    return replace(call, is_stale=_of(effects, faults.Stale) is not None)


def _answered(service: Service, call: Call, effects: list[Effect], seen: Seen) -> Answer:
    """Carry it out, or do not. Raises BrokenOff."""
    refuse = _of(effects, faults.Refuse)
    if service.outage is Outage.ERRORS:
        refuse = faults.server_error(503)
    if refuse is not None and not refuse.executed:
        return _refused(service, refuse.error, call.request.method)
    before = _object(service, call)
    try:
        signed, keys = call.signed or call.request, service.keys
        check_signature(signed, keys, region=service.store.region, now_s=service.store.clock.wall_s())
        answer = carry_out(service.store, call)
    except errors.OssError as exc:
        answer = _refused(service, exc, call.request.method)
    found = _object(service, call) or before
    if found is not None:
        seen.storage_class, seen.object_bytes = found.storage_class, found.size_bytes
    if _resets(effects, When.AFTER):
        answer.close()
        raise BrokenOff
    if _of(effects, faults.Hang):
        answer.close()
        _hang(service)
    if refuse is not None:
        answer.close()
        return _refused(service, refuse.error, call.request.method)
    return _completed(service, answer)


def _object(service: Service, call: Call) -> Version | None:
    with service.store.lock:
        bucket = service.store.buckets.get(call.bucket)
        return bucket.newest(call.key) if bucket and call.key else None


def _refused(service: Service, error: errors.OssError, method: str) -> Answer:
    request_id = f"{next(service.request_numbers):024X}"
    answer = refusal(error, method=method, request_id=request_id, host=service.host)
    return _completed(service, answer, request_id)


def _completed(service: Service, answer: Answer, request_id: str = "") -> Answer:
    """With what every answer has."""
    answer.headers |= {
        "Server": "AliyunOSS",
        "Date": xml.http_time(service.store.clock.wall_s()),
        "Connection": "keep-alive",
        "x-oss-request-id": request_id or f"{next(service.request_numbers):024X}",
        "x-oss-server-time": "1",
    }
    return answer


def _send(connection: Connection, answer: Answer, effects: list[Effect], seen: Seen) -> None:
    """Raises Disconnected and BrokenOff."""
    changed = _of(effects, faults.Headers)
    for name, text in changed.changed if changed else ():
        answer.headers = {old: value for old, value in answer.headers.items() if old.lower() != name.lower()}
        if text is not None:
            answer.headers[name] = text
    flip, short = _of(effects, faults.FlipSent), _of(effects, faults.Short)
    if flip is not None and answer.size_bytes:
        _flip(answer, flip.bit)
    size_bytes = answer.size_bytes
    if _resets(effects, When.DOWNLOADING):
        size_bytes //= 2
    elif short is not None:
        size_bytes = max(0, size_bytes - short.missing_bytes)
        if short.honest:
            answer.body = _first(answer.body, size_bytes)
    seen.status, seen.bytes_out = answer.status, size_bytes
    connection.send(answer, size_bytes=size_bytes)
    if _resets(effects, When.DOWNLOADING):
        raise BrokenOff
    if size_bytes < answer.size_bytes:
        raise Disconnected


def _first(body: bytes | FilePart, size_bytes: int) -> bytes | FilePart:
    return replace(body, size_bytes=size_bytes) if isinstance(body, FilePart) else body[:size_bytes]


def _flip(answer: Answer, bit: int) -> None:
    body = answer.body
    data = bytearray(os.pread(body.fd, body.size_bytes, body.offset) if isinstance(body, FilePart) else body)
    answer.close()
    bit %= 8 * len(data)
    data[bit // 8] ^= 1 << bit % 8
    answer.body = bytes(data)
