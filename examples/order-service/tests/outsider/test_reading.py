"""Reading: ETags, lists, streams, health, metrics, the page."""

import time
import unittest
import urllib.parse
from datetime import datetime, timedelta, timezone

import wire
from wire import Stream, end_of, events, fault, get, moment, order, post, request, submit


def setUpModule():
    global service
    for port in [*wire.PORTS.values(), *wire.CONTROL.values()]:
        if wire.taken(port):
            raise unittest.SkipTest(f"port {port} is taken, and this is about the usual ports")
    service = wire.Service()


def tearDownModule():
    service.remove()


class Tags(unittest.TestCase):
    def test_an_unchanged_status_costs_no_body(self):
        path = "/api/orders/ORD-tag/status"
        self.addCleanup(wire.no_faults)
        fault("ros", {"op": "put", "mode": "error"})
        submit(order("ORD-tag"))
        wire.status_when(
            "it waits", "ORD-tag", lambda status: status["steps"][2]["status"] == "RETRYING"
        )
        early = get(path).headers["etag"]
        self.assertRegex(early, r'^W/"[^"]+"$')
        wire.no_faults()
        end_of("ORD-tag")

        answer = get(path, If_None_Match=early)
        self.assertEqual(answer.status, 200, "it has changed since")
        tag = answer.headers["etag"]
        self.assertNotEqual(tag, early)
        strong = tag.removeprefix("W/")
        for same in (tag, strong, "*", f'"other", {tag}', f"{early},{strong}"):
            answer = get(path, If_None_Match=same)
            self.assertEqual((answer.status, answer.body), (304, b""), same)
            self.assertEqual(answer.headers["etag"], tag)
        for other in ('"other"', 'W/"other"', early):
            self.assertEqual(get(path, If_None_Match=other).status, 200, other)


class Lists(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for number in range(7):
            client = "TEST-CLIENT" if number % 2 else "client-123"
            end_of(submit(order(f"LIST-{number}", clientId=client)))
        end_of(submit(order("LIST-failed", clientId="CLIENT-003")))

    def pages(self, query):
        rows, cursor = [], None
        while True:
            more = f"&cursor={urllib.parse.quote(cursor)}" if cursor else ""
            answer = get(f"/api/orders?{query}{more}")
            self.assertEqual(answer.status, 200, answer)
            page = answer.json()
            self.assertEqual(list(page), ["orders", "nextCursor"])
            rows += page["orders"]
            cursor = page["nextCursor"]
            if cursor is None:
                return rows

    def test_a_row_has_its_members_and_agrees_with_the_order(self):
        row = get("/api/orders?limit=1").json()["orders"][0]
        members = ["id", "clientId", "priority", "status", "createdAt", "updatedAt"]
        self.assertEqual(list(row), members)
        read = get(f"/api/orders/{row['id']}").json()
        self.assertEqual(row, {member: read[member] for member in members})

    def test_pages_are_the_list_newest_first_whatever_comes_in_meanwhile(self):
        since = get("/api/orders/LIST-0").json()["createdAt"]
        page = get(f"/api/orders?limit=3&since={since}").json()
        self.assertEqual(len(page["orders"]), 3)
        end_of(submit(order("LIST-later", clientId="CLIENT-002")))
        cursor = urllib.parse.quote(page["nextCursor"])
        next_page = get(f"/api/orders?limit=200&since={since}&cursor={cursor}").json()
        ids = [row["id"] for row in page["orders"] + next_page["orders"]]
        ids = [id for id in ids if id.startswith("LIST-")]
        self.assertEqual(ids, ["LIST-failed"] + [f"LIST-{n}" for n in range(6, -1, -1)])
        self.assertIsNone(next_page["nextCursor"])
        at = [moment(row["createdAt"]) for row in self.pages("limit=2")]
        self.assertEqual(at, sorted(at, reverse=True))

    def test_filters(self):
        mine = self.pages("limit=2&clientId=TEST-CLIENT")
        self.assertEqual([row["id"] for row in mine], ["LIST-5", "LIST-3", "LIST-1"])
        failed = self.pages("status=FAILED&clientId=CLIENT-003")
        self.assertIn("LIST-failed", [row["id"] for row in failed])
        self.assertTrue(all(row["status"] == "FAILED" for row in failed))
        self.assertTrue(all(row["clientId"] == "CLIENT-003" for row in failed))
        self.assertEqual(self.pages("status=CANCELLED"), [])
        self.assertEqual(self.pages("clientId=NOBODY"), [])
        later = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()
        self.assertEqual(self.pages("since=" + urllib.parse.quote(later)), [])
        for status in ("PROCESSING", "READY_FOR_DELIVERY", "COMPENSATING", "NEEDS_ATTENTION"):
            rows = self.pages(f"status={status}")
            self.assertTrue(all(row["status"] == status for row in rows))

    def test_a_query_that_makes_no_sense_is_told_so(self):
        for query in (
            "limit=0", "limit=-1", "limit=x", "limit=", "limit=99999999999999999999",
            "cursor=x", "cursor=", "cursor=1.", "cursor=1.%00", "status=NO", "since=yesterday",
            "since=2025-01-01", "nonsense=1", "clientId=%00", "clientId=%FF", "limit=1&limit=2",
        ):  # fmt: skip
            answer = get("/api/orders?" + query)
            self.assertIn(answer.status, (400, 422), f"{query}: {answer}")
            self.assertEqual(answer.headers["content-type"], "application/problem+json", query)
        self.assertEqual(get("/readyz").status, 200)


class Streams(unittest.TestCase):
    def test_one_order(self):
        submit(order("ORD-stream"))
        with Stream("/api/orders/ORD-stream/stream") as stream:
            response = stream.response
            self.assertEqual(response.status, 200)
            self.assertEqual(response.getheader("Content-Type"), "text/event-stream")
            self.assertEqual(response.getheader("Cache-Control"), "no-cache")
            told, ids = [], []
            while len(told) < 9:
                kind, last_id, data = stream.next("order", "status")
                if kind == "order":
                    told.append(data)
                    ids.append(last_id)
            while True:
                _, last_id, status = stream.next("status")
                self.assertEqual(last_id, "9", "a status has no id")
                if status["status"] == "READY_FOR_DELIVERY":
                    break
        self.assertEqual(told, events("ORD-stream"))
        self.assertEqual(ids, [str(n) for n in range(1, 10)])
        self.assertEqual(status, get("/api/orders/ORD-stream/status").json())

        with Stream("/api/orders/ORD-stream/stream", "6") as stream:
            resumed = [stream.next("order") for _ in range(3)]
            self.assertEqual([last_id for _, last_id, _ in resumed], ["7", "8", "9"])
            self.assertEqual([data for _, _, data in resumed], told[6:])
        with Stream("/api/orders/ORD-stream/stream", "9") as stream:
            self.assertEqual(stream.next()[0], "status", "all events are known")

    def test_streams_that_cannot_be(self):
        self.assertEqual(get("/api/orders/NONE/stream").status, 404)
        answer = get("/api/orders/NONE/stream", Last_Event_ID="x")
        self.assertIn(answer.status, (400, 404))
        self.assertEqual(answer.headers["content-type"], "application/problem+json")

    def test_all_orders_from_now_on_and_again_from_where_one_left_off(self):
        with Stream("/api/events/stream") as stream:
            submit(order("ALL-1"))
            first = stream.next("order")
            while first[2]["orderId"] != "ALL-1":
                first = stream.next("order")
        end_of("ALL-1")
        end_of(submit(order("ALL-2")))
        with Stream("/api/events/stream", first[1]) as stream:
            told = []
            while len(told) < 17:
                _, _, event = stream.next("order")
                if event["orderId"].startswith("ALL-"):
                    told.append(event)
        self.assertEqual(told, events("ALL-1")[1:] + events("ALL-2"))
        self.assertEqual(first[2], events("ALL-1")[0])

    def test_a_place_that_is_not_known_is_reset(self):
        for id in ("nonsense", "ffffffffffff-ffffffffffff", "-", "%00"):
            with Stream("/api/events/stream", id) as stream:
                self.assertEqual(stream.next()[0], "reset", id)
                submit(order("RESET-" + str(time.monotonic_ns())))
                self.assertEqual(stream.next()[0], "order", id)

    def test_a_comment_keeps_an_idle_stream_alive(self):
        with Stream("/api/orders/NONE/stream") as stream:
            self.assertEqual(stream.response.status, 404)
        end_of(submit(order("IDLE")))
        with Stream("/api/orders/IDLE/stream", "9") as stream:
            self.assertEqual(stream.next("status")[0], "status")
            self.assertEqual(stream.next(":")[0], ":")


class Health(unittest.TestCase):
    def test_the_probes(self):
        for path in ("/livez", "/readyz", "/startupz"):
            self.assertEqual(get(path).status, 200, path)
        health = get("/health")
        self.assertEqual(health.status, 200)
        body = health.json()
        self.assertEqual(list(body), ["status", "checks"])
        self.assertEqual(body["status"], "ok", body)
        self.assertEqual(list(body["checks"]), ["database", "broker", "outbox", "partners"])
        self.assertEqual(list(body["checks"]["partners"]), ["cms", "wms", "ros"])

    def test_a_circuit_opens_after_three_failures_and_recover_closes_it(self):
        self.addCleanup(wire.no_faults)
        fault("wms", {"op": "register", "mode": "error"})
        waiting = [submit(order(f"CIRCUIT-{n}")) for n in range(4)]
        wire.until(
            "the circuit is open",
            lambda: get("/api/services/health").json()["services"]["wms"]["circuit"] == "open",
        )
        body = get("/api/services/health").json()
        self.assertEqual(list(body), ["instance", "services"])
        self.assertEqual(list(body["services"]), ["cms", "wms", "ros"])
        wms, ros = body["services"]["wms"], body["services"]["ros"]
        self.assertEqual(
            list(wms),
            ["available", "circuit", "consecutiveFailures", "lastFailure", "retryAfterMs"],
        )
        self.assertIs(wms["available"], False)
        self.assertGreaterEqual(wms["consecutiveFailures"], 3)
        moment(wms["lastFailure"])
        self.assertTrue(0 < wms["retryAfterMs"] <= 30_000, wms)
        self.assertEqual((ros["available"], ros["circuit"]), (True, "closed"))
        self.assertIsNone(ros["retryAfterMs"])

        health = get("/health")
        self.assertEqual((health.status, health.json()["status"]), (200, "degraded"))
        self.assertEqual(get("/readyz").status, 200, "partners are no matter of readiness")

        # Accepted all the same; the circuit is part of the estimate.
        end_of(submit(order("CIRCUIT-cms-only", clientId="CLIENT-003")))
        accepted = post("/api/orders", order("CIRCUIT-late"))
        self.assertEqual(accepted.status, 202)
        waiting.append("CIRCUIT-late")
        for id in waiting:
            wire.status_when(
                "it waits", id, lambda status: status["steps"][0]["status"] == "COMPLETED"
            )

        wire.no_faults()
        recovered = post("/api/services/wms/recover")
        self.assertEqual(recovered.status, 200)
        for id in waiting:
            self.assertEqual(end_of(id)["status"], "READY_FOR_DELIVERY")
            for partner in wire.CONTROL:
                self.assertEqual(wire.live(partner, id), (1, 1), (partner, id))
        again = get("/api/services/health").json()["services"]["wms"]
        self.assertEqual((again["available"], again["circuit"]), (True, "closed"))

    def test_only_the_three_can_be_recovered(self):
        for name in ("cms", "wms", "ros"):
            self.assertEqual(post(f"/api/services/{name}/recover").status, 200)
        for name in ("CMS", "erp", "__proto__", "%00", "..%2fcms"):
            answer = post(f"/api/services/{name}/recover")
            self.assertEqual(answer.status, 404, name)
            self.assertEqual(answer.headers["content-type"], "application/problem+json")

    def test_metrics_are_prometheus_text(self):
        end_of(submit(order("METRICS")))
        answer = get("/metrics")
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.headers["content-type"].startswith("text/plain; version=0.0.4"))
        sample = r"^[a-zA-Z_:][\w:]*(\{([\w]+=\"([^\"\\\n]|\\.)*\",?)*\})? (NaN|[-+]?(Inf|[0-9.e+-]+))$"
        names = set()
        for line in answer.body.decode().splitlines():
            if line and not line.startswith("#"):
                self.assertRegex(line, sample)
                names.add(line.split("{")[0].split(" ")[0])
        for name in ("http_requests_total", "outbox_backlog_rows"):
            self.assertIn(name, names)
        self.assertNotIn("METRICS", answer.body.decode(), "ids are no labels")

    def test_the_page_asks_nobody_else_for_anything(self):
        page = get("/")
        self.assertEqual(page.status, 200)
        self.assertTrue(page.headers["content-type"].startswith("text/html"))
        policy = page.headers["content-security-policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        text = page.body.decode()
        self.assertNotIn("http://", text)
        self.assertNotIn("https://", text)
        for name in ("/dashboard.js", "/dashboard.css"):
            self.assertIn(name, text)
            self.assertEqual(get(name).status, 200)


class Estimates(unittest.TestCase):
    """Worked out from what was observed."""

    def test_slow_partners_and_open_circuits_move_it(self):
        end_of(submit(order("ESTIMATE-1")))

        def ahead(id):
            body = post("/api/orders", order(id)).json()
            text = body["processing"]["estimatedCompletion"]
            self.assertIsNotNone(text, "all three were seen")
            return (moment(text) - datetime.now(timezone.utc)).total_seconds()

        quick = ahead("ESTIMATE-2")
        end_of("ESTIMATE-2")
        self.addCleanup(wire.no_faults)
        fault("cms", {"op": "verify", "mode": "latency", "ms": 1000})
        for n in range(3):
            end_of(submit(order(f"ESTIMATE-slow-{n}")))
        slow = ahead("ESTIMATE-3")
        self.assertGreater(slow, quick)
        end_of("ESTIMATE-3")
        fault("cms", {"op": "verify", "mode": "error"})
        for n in range(3):
            submit(order(f"ESTIMATE-error-{n}"))
        wire.until(
            "the circuit is open",
            lambda: get("/api/services/health").json()["services"]["cms"]["circuit"] == "open",
        )
        self.assertGreater(ahead("ESTIMATE-4"), slow + 10)
        wire.no_faults()
        post("/api/services/cms/recover")
        for id in ["ESTIMATE-4"] + [f"ESTIMATE-error-{n}" for n in range(3)]:
            self.assertEqual(end_of(id)["status"], "READY_FOR_DELIVERY")


if __name__ == "__main__":
    unittest.main()
