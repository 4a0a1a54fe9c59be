"""What a stranger needs to talk to the service: HTTP, the process, the partners' control ports.

Standard library only, and nothing of the service's own code: all that is known here is known
from the description of the wire.
"""

import faulthandler
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from datetime import datetime

BINARY = os.environ.get("ORDER_SERVICE", "target/debug/order-service")
LIMIT = 60  # seconds, to end a broken test; it measures nothing
# Whatever no limit below has ended; it shows where each thread stands.
faulthandler.dump_traceback_later(15 * LIMIT, exit=True)
PORTS = {"service": 4000, "cms": 5001, "wms": 5002, "ros": 5003}
CONTROL = {"cms": 6001, "wms": 6002, "ros": 6003}
ENDED = ("READY_FOR_DELIVERY", "FAILED", "CANCELLED")

STEPS = [
    ("CMS_VERIFICATION", "Contract Verification"),
    ("WMS_REGISTRATION", "Package Registration"),
    ("ROS_OPTIMIZATION", "Route Optimization"),
]
HAPPY_PATH = [
    "ORDER_ACCEPTED", "DISTRIBUTED_TRANSACTION_START",
    "CMS_VERIFICATION_STARTED", "CMS_VERIFIED",
    "WMS_REGISTRATION_STARTED", "WMS_REGISTERED",
    "ROS_OPTIMIZATION_STARTED", "ROS_OPTIMIZED",
    "ORDER_READY_FOR_DELIVERY",
]  # fmt: skip


def order(id, **members):
    """The example of the description, under another id."""
    return {
        "id": id,
        "clientId": "CLIENT-001",
        "priority": "STANDARD",
        "packages": [
            {"sku": "ITEM-001", "description": "Product Description", "quantity": 2, "priority": "STANDARD"}
        ],
        "deliveryAddresses": ["123 Main Street, City, Country"],
    } | members


def moment(text):
    """RFC 3339, or an error."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", text), text
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Answer:
    """Status, headers (names in lower case) and body of an answer."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:2000]!r}"


def request(method, path, body=None, headers=None, port=PORTS["service"]):
    """One exchange on a connection of its own."""
    headers = dict(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        connection.request(method, path, body, headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def get(path, **headers):
    return request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})


def post(path, body=None, **headers):
    return request("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})


def submit(body, **headers):
    answer = post("/api/orders", body, **headers)
    assert answer.status == 202, answer
    return body["id"]


def until(what, condition):
    """The condition's first true value."""
    began = time.monotonic()
    while time.monotonic() - began < LIMIT:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"in vain until {what}")


def status_when(what, id, wanted):
    def look():
        answer = get(f"/api/orders/{id}/status")
        assert answer.status == 200, answer
        return answer.json() if wanted(answer.json()) else None

    return until(f"{id}: {what}", look)


def end_of(id):
    return status_when("it has ended", id, lambda status: status["status"] in ENDED)


def events(id):
    return get(f"/api/orders/{id}/events").json()["events"]


def kinds(id):
    return [event["eventType"] for event in events(id)]


def fault(partner, rule):
    answer = request("POST", "/_fault", rule, port=CONTROL[partner])
    assert answer.status == 204, answer


def no_faults():
    for port in CONTROL.values():
        assert request("DELETE", "/_fault", port=port).status == 204


def live(partner, id):
    """How many effects stand at the partner for this order, and how many there ever were."""
    applied = cancelled = after = 0
    while True:
        page = request("GET", f"/_ledger?after={after}&limit=1000", port=CONTROL[partner]).json()
        if not page["effects"]:
            return applied - cancelled, applied
        for effect in page["effects"]:
            applied += effect["orderId"] == id and effect["effect"] == "APPLIED"
            cancelled += effect["orderId"] == id and effect["effect"] == "CANCELLED"
        after = page["next"]


def taken(port):
    with socket.socket() as probe:
        # As the service binds: what only rests in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def run(**variables):
    """Runs the service until it ends by itself: exit code, lines on stderr, and what it made."""
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(
            [BINARY], cwd=folder, env=variables, capture_output=True, text=True, timeout=LIMIT
        )
        return ended.returncode, ended.stderr.splitlines(), os.listdir(folder)


class Service:
    """The binary in an empty folder, with nothing configured but what is given."""

    def __init__(self, **variables):
        self.folder = tempfile.mkdtemp(prefix="outsider-")
        self.variables = variables
        self.start()

    def start(self):
        self.printed = []
        self.process = subprocess.Popen(
            [BINARY], cwd=self.folder, env=self.variables, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.readers = [
            threading.Thread(target=lambda pipe=pipe: self.printed.extend(pipe), daemon=True)
            for pipe in (self.process.stdout, self.process.stderr)
        ]
        for reader in self.readers:
            reader.start()
        until("the service is ready", self.ready)

    def ready(self):
        assert self.process.poll() is None, "".join(self.printed)
        try:
            return get("/readyz").status == 200
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.ended()

    def stop(self):
        """Asks it to end; its exit code."""
        self.process.terminate()
        return self.ended()

    def ended(self):
        code = self.process.wait(LIMIT)
        for reader in self.readers:
            reader.join(LIMIT)
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def remove(self):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder)


class Stream:
    """`text/event-stream`, as HTML says that it is read."""

    def __init__(self, path, last_event_id=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", PORTS["service"], timeout=LIMIT)
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        self.connection.request("GET", path, headers=headers)
        self.response = self.connection.getresponse()
        self.last_id = last_event_id or ""
        self.comments = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.response.close()
        self.connection.close()

    def next(self, *wanted):
        """The next event of one of these types: its type, the last id seen, its data."""
        kind, data = "message", []
        began = time.monotonic()
        while True:
            # Comments come as long as the service lives, so that reading alone has no end.
            assert time.monotonic() - began < LIMIT, f"{wanted} in vain after {self.last_id}"
            line = self.response.readline()
            assert line, "the stream ended"
            line = line.decode().rstrip("\r\n")
            if not line:
                if data and (not wanted or kind in wanted):
                    return kind, self.last_id, json.loads("\n".join(data))
                kind, data = "message", []
            elif line.startswith(":"):
                self.comments += 1
                if ":" in wanted:
                    return ":", self.last_id, line
            else:
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data.append(value)
                elif name == "id":
                    self.last_id = value
