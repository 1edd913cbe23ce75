"""The three encodings, read with stock libraries, as docs/protocol.md and proto/ describe them.

Every message becomes a dict with `type` and the fields of the .proto files: prices and sizes as integers, times in
nanoseconds, enums as words, prices of book levels absolute. Market data has `receive_time` in place of the delay.
"""

import importlib
import json
import pathlib
import re
import sys
import tempfile

import msgpack
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ["record", "control", "command"]
ENCODINGS = ["proto", "msgpack", "json"]
BITS = 1 << 64

PRICES = {"price", "open", "high", "low", "close", "last"}
SIZES = {"size", "volume", "tick_size", "lot_size"}
WIDE = {"event_time", "receive_time", "open_time", "since", "epoch", "time", "sent_time", "next_funding_time",
        "token_expires"}


def _compile():
    folder = tempfile.mkdtemp(prefix="tickwire-proto-")
    proto = ROOT / "proto"
    names = [str(proto / f"tickwire/v1/{name}.proto") for name in FILES]
    if protoc.main(["protoc", f"-I{proto}", f"--python_out={folder}", *names]) != 0:
        raise RuntimeError("the .proto files do not compile")
    sys.path.insert(0, folder)
    return [importlib.import_module(f"tickwire.v1.{name}_pb2") for name in FILES]


record_pb2, control_pb2, command_pb2 = _compile()
RECORD = record_pb2.Record.DESCRIPTOR
COMMAND = command_pb2.Command.DESCRIPTOR


def signed(value):
    """Returns what is left of a number after it wrapped at 64 bits."""
    value %= BITS
    return value - BITS if value >= BITS // 2 else value


def word(enum, number):
    unknown = enum.values_by_number[0].name
    value = enum.values_by_number.get(number)
    return value.name.removeprefix(unknown.removesuffix("UNKNOWN")).lower() if value else "unknown"


def _value(field, value, nested):
    if value is None:
        return None
    if field.message_type is not None:
        return nested(field.message_type, value)
    return word(field.enum_type, value) if field.enum_type is not None else value


def _from_pb(descriptor, message):
    out = {}
    for field in descriptor.fields:
        value = getattr(message, field.name)
        if field.is_repeated:
            out[field.name] = [_value(field, each, _from_pb) for each in value]
        elif field.has_presence and not message.HasField(field.name):
            out[field.name] = None
        else:
            out[field.name] = _value(field, value, _from_pb)
    return out


def _from_array(descriptor, array):
    """Reads fields by position, in the order of their numbers; what follows the known ones is newer than this reader."""
    out = {}
    for field, value in zip(sorted(descriptor.fields, key=lambda field: field.number), array, strict=False):
        if field.is_repeated:
            out[field.name] = [_value(field, each, _from_array) for each in value]
        else:
            out[field.name] = _value(field, value, _from_array)
    return out


def _record(kind, header, body):
    kind = {"ask_size": "quote", "instrument_definition": "instrument"}.get(kind, kind)
    if kind == "book":
        body["bids"] = _levels(body.pop("bid_prices"), body.pop("bid_sizes"))
        body["asks"] = _levels(body.pop("ask_prices"), body.pop("ask_sizes"))
    instrument, sequence, event_time, delay = header
    times = {"event_time": event_time, "receive_time": (event_time + delay) % BITS}
    return {"type": kind, "instrument": instrument, "sequence": sequence, **times, **body}


def _quote(bid_price, bid_size, ask_offset, ask_size):
    bid = None if bid_price is None else (bid_price, bid_size)
    ask = None if ask_offset is None else (signed((bid_price or 0) + ask_offset), ask_size)
    return {"bid": bid, "ask": ask}


def _levels(prices, sizes):
    levels, price = [], 0
    for step, size in zip(prices, sizes, strict=True):
        price = signed(price + step)
        levels.append((price, size))
    return levels


def _decode_proto(payload):
    frame = record_pb2.Frame.FromString(payload)
    out = []
    for record in frame.records:
        kind = record.WhichOneof("body")
        if kind is None:
            continue
        field = RECORD.fields_by_name[kind]
        header = (record.instrument, record.sequence, record.event_time, record.receive_delay)
        if kind == "ask_size":
            bid_price = record.bid_price if record.HasField("bid_price") else None
            ask_offset = record.ask_offset if record.HasField("ask_offset") else None
            out.append(_record(kind, header, _quote(bid_price, record.bid_size, ask_offset, record.ask_size)))
        elif field.number <= 15 or kind == "derivative":
            out.append(_record(kind, header, _from_pb(field.message_type, getattr(record, kind))))
        else:
            out.append({"type": kind, **_from_pb(field.message_type, getattr(record, kind))})
    if frame.sent_time:
        out.append({"type": "sent", "sent_time": frame.sent_time})
    return out


def _decode_msgpack(payload):
    unpacker = msgpack.Unpacker(max_buffer_size=len(payload) + 1)
    unpacker.feed(payload)
    out = []
    for number, *rest in unpacker:
        field = RECORD.fields_by_number.get(number)
        if number == 2:
            out.append({"type": "sent", "sent_time": rest[0]})
        elif number == 8:
            out.append(_record("quote", rest[:4], _quote(*rest[4:8])))
        elif number < 8 or field is None:
            continue
        elif number <= 15 or field.name == "derivative":
            out.append(_record(field.name, rest[:4], _from_array(field.message_type, rest[4])))
        else:
            out.append({"type": field.name, **_from_array(field.message_type, rest[0])})
    return out


def digits(text):
    assert re.fullmatch(r"-?\d+(\.\d+)?", text), text
    return int(text.replace(".", ""))


def _decimals(text):
    return len(text.partition(".")[2])


def _pair(price, size):
    return None if price is None else (digits(price), digits(size))


def _plain(value):
    """Reads times and epochs as numbers, wherever they stand."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: int(each) if key in WIDE else _plain(each) for key, each in value.items()}
    return value


def from_json(line):
    """Reads one object of the JSON encoding."""
    out = _plain(line)
    kind = out["type"]
    name = out.pop("symbol", "") if "sequence" in out else ""
    if kind == "quote":
        out["bid"] = _pair(out.pop("bid_price"), out.pop("bid_size"))
        out["ask"] = _pair(out.pop("ask_price"), out.pop("ask_size"))
    elif kind == "book":
        out = {"snapshot": False, "first_sequence": 0, "checksum": None, **out}
        for side in ("bids", "asks"):
            out[side] = [_pair(*level) for level in out[side]]
    elif kind == "instrument":
        out["venue"], out["symbol"] = name.split(":", 1)
        out = {"ended": False, "revision": 0, "last_sequences": [], **out}
    elif kind == "bar":
        out = {"correction": False, "incomplete": False, **out}
    elif kind == "stat":
        out = {"incomplete": False, **out}
    elif kind == "derivative":
        prices = [out[field] for field in ("mark_price", "index_price") if out[field] is not None]
        out["price_decimals"] = max(map(_decimals, prices), default=0)
        out["rate_decimals"] = _decimals(out["funding_rate"] or "")
        for field in ("mark_price", "index_price", "funding_rate", "open_interest"):
            out[field] = None if out[field] is None else digits(out[field])
    elif kind == "trade":
        out = {"id_text": "", **out, "id": int(out.get("id", 0))}
    if kind in ("trade", "bar", "stat", "instrument"):
        for field in (PRICES | SIZES) & out.keys():
            out[field] = None if out[field] is None else digits(out[field])
    return out


def decode(encoding, payload):
    """Reads the messages in one WebSocket message."""
    if encoding == "proto":
        return _decode_proto(payload)
    if encoding == "msgpack":
        return _decode_msgpack(payload)
    known = set(RECORD.fields_by_name) | {"quote", "instrument", "sent"}
    lines = [json.loads(line) for line in payload.splitlines() if line.strip()]
    return [from_json(line) for line in lines if line["type"] in known]


def _to_pb(message, fields):
    for name, value in fields.items():
        if isinstance(value, list):
            for each in value:
                if isinstance(each, dict):
                    _to_pb(getattr(message, name).add(), each)
                else:
                    getattr(message, name).append(each)
        else:
            setattr(message, name, value)
    return message


def _to_array(descriptor, fields):
    out = []
    for field in descriptor.fields:
        value = fields.get(field.name, [] if field.is_repeated else field.default_value)
        if field.message_type is not None:
            value = [_to_array(field.message_type, each) for each in value]
        out.append(value)
    return out


def encode_command(encoding, op, fields):
    """Writes one command; returns bytes, or text for JSON. `fields` are those of command.proto."""
    field = COMMAND.fields_by_name[op]
    if encoding == "proto":
        command = command_pb2.Command()
        getattr(command, op).SetInParent()
        _to_pb(getattr(command, op), fields)
        return command.SerializeToString(deterministic=True)
    if encoding == "msgpack":
        return msgpack.packb([field.number, _to_array(field.message_type, fields)])
    return json.dumps({"op": op, **fields})
