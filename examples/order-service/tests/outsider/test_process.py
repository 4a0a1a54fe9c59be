"""The process: what it prints, what it leaves, how it ends and begins again."""

import json
import re
import unittest

import wire
from wire import end_of, events, get, kinds, order, post, request, submit


def setUpModule():
    for port in [*wire.PORTS.values(), *wire.CONTROL.values()]:
        if wire.taken(port):
            raise unittest.SkipTest(f"port {port} is taken, and this is about the usual ports")


class Process(unittest.TestCase):
    def start(self, **variables):
        service = wire.Service(**variables)
        self.addCleanup(service.remove)
        return service

    def test_it_says_where_things_are_and_how_to_begin(self):
        service = self.start()
        said = lambda: "".join(service.printed)
        wire.until("it has said it all", lambda: "Ctrl-C" in said())
        for part in ("http://127.0.0.1:4000", "swifttrack-data/orders.db", "127.0.0.1:5001",
                     "127.0.0.1:5002", "127.0.0.1:5003", "http://127.0.0.1:6001",
                     "http://127.0.0.1:6002", "http://127.0.0.1:6003"):  # fmt: skip
            self.assertIn(part, said())
        self.assertRegex(said(), r"in-process Kafka broker at 127\.0\.0\.1:\d+")
        # The order that it shows is one that works.
        body = re.search(r"curl -i (\S+) .*-d '([^']+)'", said())
        self.assertEqual(body[1], "http://127.0.0.1:4000/api/orders")
        answer = post("/api/orders", body[2], Content_Type="application/json")
        self.assertEqual(answer.status, 202)
        end_of(answer.json()["orderId"])
        self.assertEqual(service.stop(), 0)

    def test_what_was_accepted_is_finished_by_the_next_one(self):
        service = self.start(RETRY_DELAY_MS="100")
        ready = submit(order("ORD-before"))
        end_of(ready)
        wire.fault("ros", {"op": "put", "mode": "reset_after_commit"})
        ids = [submit(order(f"ORD-{n}")) for n in range(5)]
        refused = submit(order("ORD-refused", deliveryAddresses=["RESTRICTED"]))
        # Killed with work at every stage, the partners with it; their ledgers stay.
        service.kill()
        service.start()
        for id in ids:
            self.assertEqual(end_of(id)["status"], "READY_FOR_DELIVERY")
            for partner in wire.CONTROL:
                self.assertEqual(wire.live(partner, id), (1, 1), (partner, id))
        self.assertEqual(end_of(refused)["status"], "FAILED")
        for partner in wire.CONTROL:
            self.assertEqual(wire.live(partner, refused)[0], 0)
        self.assertEqual(kinds(ready), wire.HAPPY_PATH)
        for id in [ready, refused, *ids]:
            story = events(id)
            self.assertEqual([event["sequence"] for event in story], list(range(1, len(story) + 1)))
        self.assertEqual(post("/api/orders", order("ORD-before")).status, 202)
        self.assertEqual(kinds(ready), wire.HAPPY_PATH)
        self.assertEqual(service.stop(), 0)

    def test_logs_are_lines_of_json_without_what_is_personal(self):
        service = self.start(LOG_FORMAT="json", RUST_LOG="debug,hyper=info,sqlx=info")
        address = "7 Hidden Lane"
        end_of(submit(order("ORD-log", deliveryAddresses=[address, "RESTRICTED " + address])))
        end_of(submit(order("ORD-log-2", deliveryAddresses=[address])))
        self.assertEqual(service.stop(), 0)
        lines = [line for line in service.printed if line.startswith("{")]
        self.assertTrue(lines)
        for line in lines:
            json.loads(line)
        self.assertNotIn("Hidden Lane", "".join(service.printed))

    def test_metrics_on_a_listener_of_their_own(self):
        self.start(METRICS_BIND="127.0.0.1:4100")
        self.assertEqual(get("/metrics").status, 404)
        self.assertEqual(request("GET", "/metrics", port=4100).status, 200)
        other = request("GET", "/api/orders", port=4100)
        self.assertEqual(other.status, 404)
        self.assertEqual(other.headers["content-type"], "application/problem+json")

    def test_other_sites_are_let_in_by_name_only(self):
        self.start(CORS_ORIGINS="https://app.example.com")
        for origin, allowed in [("https://app.example.com", True), ("https://evil.example", False)]:
            answer = get("/api/orders", Origin=origin)
            self.assertEqual(answer.headers.get("access-control-allow-origin") == origin, allowed)
            preflight = request(
                "OPTIONS", "/api/orders", headers={
                    "Origin": origin, "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "content-type,idempotency-key",
                },
            )  # fmt: skip
            said = preflight.headers.get("access-control-allow-origin")
            self.assertEqual(said == origin, allowed, preflight)


if __name__ == "__main__":
    unittest.main()
