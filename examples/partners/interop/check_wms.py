"""Speaks to partner-wms as a foreign client would: sockets and struct, from nothing but the wire contract.

    python3 check_wms.py target/debug/partner-wms

Starts the warehouse itself, on free ports and an empty ledger. Exits with 0 if every answer was as
the contract says.
"""

import json
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import urllib.request

import partner
from partner import PATIENCE_S

HELLO, HELLO_ACK, PING, PONG, GOAWAY, ERROR = 0x01, 0x81, 0x03, 0x83, 0x05, 0xFF
REGISTER, REGISTER_OK, CANCEL, CANCEL_OK, QUERY, QUERY_OK = 0x10, 0x90, 0x11, 0x91, 0x12, 0x92
REJECTED, NOT_APPLIED, UNKNOWN = 0, 1, 2
HEADER = struct.Struct(">4sBBHQIII")

checks = 0


def same(found, expected, what=""):
    global checks
    checks += 1
    assert found == expected, f"{what}: {found!r} is not {expected!r}"


# --- frames ---


def table():
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        yield crc


TABLE = list(table())


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def frame(kind, number, payload=b"", deadline_ms=0, magic=b"SWMS", version=1, flags=0):
    head = HEADER.pack(magic, version, kind, flags, number, deadline_ms, len(payload), 0)[:24]
    return head + struct.pack(">I", crc32c(payload, crc32c(head))) + payload


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">H", len(data)) + data


class Fields:
    """Takes a payload apart from its start, and sees to it that nothing is left."""

    def __init__(self, payload):
        self.rest = payload

    def take(self, layout):
        value = struct.unpack_from(">" + layout, self.rest)[0]
        self.rest = self.rest[struct.calcsize(">" + layout):]
        return value

    def text(self):
        length = self.take("H")
        value, self.rest = self.rest[:length], self.rest[length:]
        assert len(value) == length, "a text is cut short"
        return value.decode()

    def end(self):
        same(self.rest, b"", "bytes after the last field")


# --- requests ---


def about(order, key="", trace=""):
    return text(trace) + text(key) + text(order)


def package(sku, quantity=1, description="", priority=0, flags=0):
    return text(sku) + text(description) + struct.pack(">IBB", quantity, priority, flags)


def register(order, key="", packages=(package("ITEM-001"),), client="CLIENT-001", priority=0,
             addresses=("1 Galle Road",), trace=""):
    return (about(order, key, trace) + text(client) + struct.pack(">BH", priority, len(packages))
            + b"".join(packages) + struct.pack(">H", len(addresses)) + b"".join(map(text, addresses)))


def cancel(order, key="", package_id="", reason="saga"):
    return about(order, key) + text(package_id) + text(reason)


class Refused(Exception):
    def __init__(self, payload):
        fields = Fields(payload)
        self.code, self.kind, self.retry_ms = fields.take("H"), fields.take("B"), fields.take("I")
        self.message = fields.text()
        fields.end()
        super().__init__(f"{self.code} of class {self.kind}: {self.message}")


class Line:
    """One connection, greeted unless it is to be raw."""

    def __init__(self, wms, raw=False, token=""):
        self.socket = socket.create_connection(("127.0.0.1", wms.port), PATIENCE_S)
        self.number = 0
        if not raw:
            number = self.send(HELLO, struct.pack(">BB", 1, 1) + text("check_wms") + text(token))
            kind, echoed, payload = self.next()
            if kind == ERROR:
                raise Refused(payload)
            same((kind, echoed), (HELLO_ACK, number), "the answer to HELLO")
            fields = Fields(payload)
            same(fields.take("B"), 1, "the version that both speak")
            self.payload_max, self.window = fields.take("I"), fields.take("H")
            self.heartbeat_s = fields.take("I") / 1000
            fields.end()

    def send(self, kind, payload=b"", deadline_ms=0):
        self.number += 1
        self.socket.sendall(frame(kind, self.number, payload, deadline_ms))
        return self.number

    def bytes(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def any(self):
        """The next frame, whatever it is."""
        head = self.bytes(HEADER.size)
        magic, version, kind, flags, number, _, length, crc = HEADER.unpack(head)
        same((magic, version, flags), (b"SWMS", 1, 0), "the header")
        payload = self.bytes(length)
        same(crc, crc32c(payload, crc32c(head[:24])), "the checksum")
        return kind, number, payload

    def next(self):
        """The next frame that is no heartbeat."""
        while True:
            kind, number, payload = self.any()
            if kind != PING:
                return kind, number, payload
            same(number, 0, "a server's PING has no id")
            self.socket.sendall(frame(PONG, number))

    def answer(self, number, expected):
        kind, echoed, payload = self.next()
        same(echoed, number, "the id")
        if kind == ERROR:
            raise Refused(payload)
        same(kind, expected, "the type")
        return Fields(payload)

    def register(self, *args, **options):
        fields = self.answer(self.send(REGISTER, register(*args, **options)), REGISTER_OK)
        replayed, package_id, location = fields.take("B"), fields.text(), fields.text()
        ready_ms = fields.take("q")
        items = [(fields.text(), fields.take("I")) for _ in range(fields.take("H"))]
        fields.end()
        return replayed, package_id, location, ready_ms, items

    def cancel(self, *args, **options):
        fields = self.answer(self.send(CANCEL, cancel(*args, **options)), CANCEL_OK)
        state = fields.take("B")
        fields.end()
        return ("cancelled", "already", "tombstoned")[state]

    def query(self, order):
        fields = self.answer(self.send(QUERY, about(order)), QUERY_OK)
        state, package_id = fields.take("B"), fields.text()
        fields.end()
        return ("none", "registered", "cancelled")[state], package_id

    def ends(self, within_s=PATIENCE_S):
        """Whether the server closes without another word but heartbeats."""
        self.socket.settimeout(within_s)
        try:
            while True:
                kind, _, _ = self.any()
                if kind != PING:
                    return False
        except (EOFError, ConnectionResetError):
            return True


def refused(call, code, kind):
    try:
        answer = call()
    except Refused as error:
        same((error.code, error.kind), (code, kind), str(error))
        return error
    raise AssertionError(f"{code} was expected, not {answer!r}")


# --- the warehouse ---


class Warehouse:
    def __init__(self, program, data, **environment):
        self.program, self.data = program, data
        self.environment = environment
        self.port = partner.free_port()
        self.start()

    def start(self):
        self.process = partner.start(self.program, self.port, self.data, "--seed", "7", **self.environment)

    def end(self, how):
        return partner.end(self.process, how)

    def control(self, method, path, body=None):
        url = f"http://127.0.0.1:{self.port + 1000}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read()

    def fault(self, **rule):
        same(self.control("POST", "/_fault", rule)[0], 204, "a rule")

    def well(self):
        same(self.control("DELETE", "/_fault")[0], 204, "no rules")

    def effects(self, of=None):
        after, found = 0, []
        while True:
            status, body = self.control("GET", f"/_ledger?after={after}&limit=10")
            same(status, 200, "the ledger")
            page = json.loads(body)
            if not page["effects"]:
                break
            found += page["effects"]
            after = page["next"]
        same([effect["n"] for effect in found], list(range(1, len(found) + 1)), "the numbers")
        for effect in found:
            same(set(effect), {"n", "op", "key", "orderId", "effect", "at"}, "an effect")
        return [(effect["orderId"], effect["effect"]) for effect in found
                if of is None or effect["orderId"] == of]


# --- the contract, rule by rule ---


def vectors():
    same(crc32c(b"123456789"), 0xE3069283)
    same(frame(PING, 1).hex(), "53574d530103000000000000000000010000000000000000ce5eb9d2")
    payload = cancel("ORD-1", "ORD-1:cancel", "", "saga")
    same(frame(CANCEL, 2, payload, 1500).hex(),
         "53574d53011100000000000000000002000005dc0000001fb5d0fd26"
         "0000000c4f52442d313a63616e63656c00054f52442d310000000473616761")


def greeting(wms):
    line = Line(wms)
    same(line.payload_max, 1 << 20, "payloads up to 1 MiB")
    assert line.window > 0 and line.heartbeat_s > 0
    number = line.send(PING)
    same(line.next()[:2], (PONG, number), "PONG echoes the id")

    early = Line(wms, raw=True)
    number = early.send(QUERY, about("EARLY"))
    refused(lambda: early.answer(number, QUERY_OK), 400, REJECTED)

    future = Line(wms, raw=True)
    number = future.send(HELLO, struct.pack(">BB", 2, 9) + text("check_wms") + text(""))
    refused(lambda: future.answer(number, HELLO_ACK), 505, NOT_APPLIED)
    assert future.ends(), "no common version, and the connection stays"

    both = Line(wms, raw=True)
    number = both.send(HELLO, struct.pack(">BB", 1, 9) + text("check_wms") + text(""))
    same(both.answer(number, HELLO_ACK).take("B"), 1, "the highest version of both")


def frames(wms):
    good = about("FRAMES")
    for what, data in [
        ("magic", frame(QUERY, 2, good, magic=b"SWMT")),
        ("version", frame(QUERY, 2, good, version=2)),
        ("flags", frame(QUERY, 2, good, flags=1)),
        ("checksum", frame(QUERY, 2, good)[:-1] + b"\0"),
        ("length", HEADER.pack(b"SWMS", 1, QUERY, 0, 2, 0, (1 << 20) + 1, 0)),
    ]:
        line = Line(wms)
        line.socket.sendall(data)
        assert line.ends(), f"a bad {what} was answered"

    line = Line(wms)
    for what, kind, payload in [
        ("an unknown type", 0x42, b""),
        ("trailing bytes", QUERY, good + b"\0"),
        ("a text cut short", QUERY, good[:-1]),
        ("bad UTF-8", QUERY, text("") + text("") + text(b"\xff")),
        ("a second HELLO", HELLO, struct.pack(">BB", 1, 1) + text("") + text("")),
        ("a priority that is none", REGISTER, register("FRAMES", priority=3)),
    ]:
        number = line.send(kind, payload)
        error = refused(lambda: line.answer(number, QUERY_OK), 400, REJECTED)
        assert error.message, what
    same(line.query("FRAMES"), ("none", ""), "it goes on after all of these")

    # The largest payload there may be: one REGISTER of exactly a MiB.
    addresses = ["x" * 60_000] * 17
    missing = (1 << 20) - len(register("LARGE", addresses=addresses)) - 2
    addresses.append("x" * missing)
    same(len(register("LARGE", addresses=addresses)), 1 << 20)
    same(line.register("LARGE", addresses=addresses)[0], 0, "the largest payload")


def decisions(wms):
    line = Line(wms)
    first = line.register("ORD-1", "k1", [package("ITEM-001", 3, "Tea ☕", 1, 8 | 4 | 2),
                                          package("ITEM-040", 1), package("ITEM-001", 2)], priority=2)
    replayed, package_id, location, ready_ms, items = first
    same(replayed, 0)
    assert package_id
    assert location in [f"{letter}1" for letter in "ABCDEFGHIJ"], location
    assert abs(ready_ms / 1000 - time.time()) < 86400, ready_ms
    same(items, [("ITEM-001", 3), ("ITEM-040", 1), ("ITEM-001", 2)], "what was set aside, line by line")
    same(line.query("ORD-1"), ("registered", package_id))

    same(line.register("ORD-2", "k2")[0], 0)
    again = line.register("ORD-2", "k2", trace="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    same(again[0], 1, "the same once more, under another trace")
    same(line.register("ORD-2", "k3")[:2], again[:2], "the same under another key")
    refused(lambda: line.register("ORD-2", "k2", priority=1), 422, REJECTED)
    refused(lambda: line.register("ORD-2", "k4", priority=1), 422, REJECTED)
    refused(lambda: line.register("ORD-3", "k2"), 422, REJECTED)
    same(line.query("ORD-3"), ("none", ""), "what was refused left nothing behind")

    same(line.register("ORD-4")[0], 0, "without a key")
    same(line.register("ORD-4", "ORD-4")[0], 1, "a missing key counts as the order id")
    refused(lambda: line.register("ORD-5", "ORD-4"), 422, REJECTED)

    same(line.cancel("ORD-2", "k2"), "cancelled", "keys are per operation")
    same(line.cancel("ORD-2", "k2"), "cancelled", "the same key: the first state")
    same(line.cancel("ORD-2", "u2"), "already")
    same(line.cancel("ORD-2", "u2"), "already")
    refused(lambda: line.cancel("ORD-4", "u2"), 422, REJECTED)
    refused(lambda: line.register("ORD-2", "k2"), 410, REJECTED)
    refused(lambda: line.register("ORD-2", "k9", priority=1), 410, REJECTED)
    refused(lambda: line.register("ORD-2", "k2", priority=1), 422, REJECTED)
    same(line.query("ORD-2")[0], "cancelled")

    same(line.cancel("ORD-6", "u6"), "tombstoned", "of what never happened")
    same(line.cancel("ORD-6", "u6"), "tombstoned")
    refused(lambda: line.register("ORD-6", "k6"), 410, REJECTED)
    same(line.query("ORD-6"), ("cancelled", ""))

    same(wms.effects("ORD-2"), [("ORD-2", "APPLIED"), ("ORD-2", "CANCELLED")])
    same(wms.effects("ORD-6"), [("ORD-6", "TOMBSTONED")])
    same(wms.effects("ORD-3"), [], "refusals are no effects")


def stock(wms):
    line = Line(wms)
    refused(lambda: line.register("S-1", packages=[package("ITEM-041")]), 404, REJECTED)
    refused(lambda: line.register("S-1", packages=[package("SKU-LOW", 3)]), 409, REJECTED)
    refused(lambda: line.register("S-1", packages=[package("SKU-LOW", 2), package("NONE")]), 404, REJECTED)
    refused(lambda: line.register("S-1", packages=[package("SKU-LOW", 1), package("SKU-LOW", 2)]), 409, REJECTED)
    same(line.register("S-1", packages=[package("SKU-LOW", 2)])[0], 0, "all or nothing: it was nothing")
    refused(lambda: line.register("S-2", packages=[package("SKU-LOW")]), 409, REJECTED)
    same(line.cancel("S-1"), "cancelled")
    same(line.register("S-2", packages=[package("SKU-LOW", 2)])[0], 0, "a cancel frees the goods")
    same(line.cancel("S-2"), "cancelled")
    for sku in [*(f"ITEM-{n:03}" for n in range(1, 41)), "TEST"]:
        same(line.register(f"S-{sku}", packages=[package(sku, 1000)])[0], 0, sku)


def window(wms):
    line = Line(wms)
    wms.fault(op="query", mode="hang", ms=700, count=line.window)
    slow = [line.send(QUERY, about("SLOW")) for _ in range(line.window)]
    # Beyond the window, by more than any buffer of frames: nothing is refused but what is too late.
    late = line.send(REGISTER, register("LATE"), deadline_ms=1)
    more = [line.send(QUERY, about("MORE")) for _ in range(line.window)]
    told = {}
    for _ in range(2 * line.window + 1):
        kind, number, payload = line.next()
        assert number not in told, f"{number} was answered twice"
        told[number] = kind, payload
    same(set(told), {*slow, late, *more}, "everything is answered")
    same({told[number][0] for number in [*slow, *more]}, {QUERY_OK})
    same(told[late][0], ERROR, "a deadline that has passed before work began")
    busy = Refused(told[late][1])
    same((busy.code, busy.kind), (429, NOT_APPLIED))
    same(wms.effects("LATE"), [])

    line = Line(wms)
    wms.fault(op="query", mode="hang", ms=60_000, count=1)
    line.send(QUERY, about("SLOW"))
    quick = line.send(REGISTER, register("QUICK"))
    same(line.next()[1], quick, "answers come in any order")


def faults(wms):
    def cut(mode, done, **rule):
        order = f"F-{mode}"
        line = Line(wms)
        wms.fault(op="register", mode=mode, count=1, **rule)
        line.send(REGISTER, register(order))
        assert line.ends(), f"{mode} was followed by a frame"
        same(wms.effects(order), [(order, "APPLIED")] * done, mode)
        same(Line(wms).register(order)[0], done, f"the same again after {mode}")

    cut("reset_before", 0)
    cut("reset_after_commit", 1)
    cut("half_reply", 1)
    wms.fault(op="register", mode="garbage", count=1)
    line = Line(wms)
    line.send(REGISTER, register("F-garbage"))
    try:
        line.any()
    except (AssertionError, EOFError):
        pass
    else:
        raise AssertionError("garbage was a frame")
    same(Line(wms).register("F-garbage")[0], 1, "garbage was done")

    line = Line(wms)
    wms.fault(op="*", mode="error", count=1)
    busy = refused(lambda: line.register("F-error"), 429, NOT_APPLIED)
    assert busy.retry_ms > 0
    wms.fault(op="register", mode="error", count=1, code="INTERNAL")
    refused(lambda: line.register("F-error"), 500, UNKNOWN)
    wms.fault(op="register", mode="error", count=1, code="CAPACITY_EXCEEDED")
    refused(lambda: line.register("F-error"), 507, REJECTED)
    same(line.register("F-error")[0], 0, "an error has done nothing")

    wms.fault(op="register", mode="duplicate_reply", count=1)
    number = line.send(REGISTER, register("F-twice"))
    same([line.next()[:2], line.next()[:2]], [(REGISTER_OK, number)] * 2)
    same(line.query("F-twice")[0], "registered", "the connection stays")

    # Delayed past its cancel: refused by the tombstone.
    wms.fault(op="register", mode="latency", ms=1500, count=1)
    late = line.send(REGISTER, register("F-late"))
    other = Line(wms)
    same(other.cancel("F-late"), "tombstoned")
    refused(lambda: line.answer(late, REGISTER_OK), 410, REJECTED)
    same(wms.effects("F-late"), [("F-late", "TOMBSTONED")])

    wms.fault(op="register", mode="reset_before")
    wms.well()
    same(line.register("F-well")[0], 0, "no rule is left")


def crash(program, data):
    wms = Warehouse(program, data)
    line = Line(wms)
    first = line.register("C-1", "k")
    line.cancel("C-2")
    before = wms.effects()
    wms.end(signal.SIGKILL)
    wms.start()
    same(wms.effects(), before, "the ledger after kill -9")
    line = Line(wms)
    same(line.register("C-1", "k"), (1, *first[1:]), "the first answer, word for word")
    refused(lambda: line.register("C-2"), 410, REJECTED)

    # What runs when it is told to stop may end; what comes after was not accepted.
    wms.fault(op="query", mode="hang", ms=1200, count=1)
    running = line.send(QUERY, about("C-1"))
    # It reads one frame after the other, so what came before a PONG was accepted.
    ping = line.send(PING)
    same(line.next()[:2], (PONG, ping))
    wms.process.send_signal(signal.SIGTERM)
    kind, number, payload = line.next()
    same((kind, number), (GOAWAY, 0))
    fields = Fields(payload)
    same(fields.take("Q"), running, "the last that was accepted")
    fields.text()
    fields.end()
    line.send(REGISTER, register("C-3"))
    same(line.next()[:2], (QUERY_OK, running), "what ran was answered")
    assert line.ends()
    same(wms.end(signal.SIGTERM), 0, "the exit code")
    wms.start()
    same(wms.effects("C-3"), [])
    wms.end(signal.SIGTERM)


def token(program, data):
    wms = Warehouse(program, data, WMS_TOKEN="let me in")
    Line(wms, token="let me in").query("T-1")
    for wrong in ["", "let me", "let me in "]:
        refused(lambda: Line(wms, token=wrong), 401, REJECTED)
    wms.end(signal.SIGTERM)


def within(low_s, high_s, call):
    started = time.monotonic()
    call()
    took = time.monotonic() - started
    assert low_s <= took, f"it took {took:.1f} s, less than {low_s} s"
    assert took <= high_s, f"it took {took:.1f} s, more than {high_s} s"


def silent(wms):
    line = Line(wms)
    beat = line.heartbeat_s
    for _ in range(2):
        same(line.any()[:2], (PING, 0), "who sent nothing for a heartbeat sends PING")
    within(beat / 2, PATIENCE_S, lambda: same(line.ends(), True, "three heartbeats of silence"))


def slow_frame(wms):
    line = Line(wms)
    line.socket.sendall(frame(QUERY, 2, about("SLOW"))[:20])
    within(line.heartbeat_s * 0.9, line.heartbeat_s * 2.9,
           lambda: same(line.ends(), True, "a frame that does not go on"))


def no_hello(wms):
    line = Line(wms, raw=True)
    within(4.5, PATIENCE_S, lambda: same(line.ends(), True, "HELLO within 5 s"))


def all_of(program):
    vectors()
    with tempfile.TemporaryDirectory() as data:
        wms = Warehouse(program, os.path.join(data, "one"))
        failures = []

        def guarded(check, *arguments):
            try:
                check(*arguments)
            except BaseException as error:  # of a thread: told by the main one
                failures.append(error)

        # These take their time, so they take it side by side.
        waiting = [threading.Thread(target=guarded, args=(check, wms))
                   for check in (silent, slow_frame, no_hello)]
        for thread in waiting:
            thread.start()
        try:
            for check in (greeting, frames, decisions, stock, window, faults):
                check(wms)
            crash(program, os.path.join(data, "two"))
            token(program, os.path.join(data, "three"))
            for thread in waiting:
                thread.join()
            if failures:
                raise failures[0]
        finally:
            wms.end(signal.SIGTERM)


if __name__ == "__main__":
    all_of(sys.argv[1])
    print(f"partner-wms: {checks} checks, all as the contract says")
