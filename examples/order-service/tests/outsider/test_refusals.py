"""What the service does not take: requests, environments, neighbours."""

import http.client
import json
import socket
import unittest

import wire
from wire import end_of, get, order, post, request, submit


def setUpModule():
    global service
    for port in [*wire.PORTS.values(), *wire.CONTROL.values()]:
        if wire.taken(port):
            raise unittest.SkipTest(f"port {port} is taken, and this is about the usual ports")
    service = wire.Service()


def tearDownModule():
    service.remove()


class Problems(unittest.TestCase):
    def problem(self, answer, status):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["content-type"], "application/problem+json", answer)
        body = answer.json()
        for member in ("type", "title", "detail", "instance", "code"):
            self.assertIsInstance(body[member], str, body)
        self.assertEqual(body["status"], status)
        self.assertTrue(set(body) <= {"type", "title", "status", "detail", "instance", "code", "errors"})
        return body

    def test_what_is_not_json(self):
        for body in (
            "", "{", "not json", '{"id":"A"} x', "{'id':'A'}", '{"id":"A",}', "\x00",
            "[" * 100_000, '{"id": NaN}', "\ufeff{}",
        ):  # fmt: skip
            answer = post("/api/orders", body.encode(), Content_Type="application/json")
            self.problem(answer, 400)
        answer = post("/api/orders", b'{"id":"\xff"}', Content_Type="application/json")
        self.problem(answer, 400)

    def test_json_that_is_no_order(self):
        for body in ("null", "1", '"text"', "[]", "true"):
            answer = post("/api/orders", body, Content_Type="application/json")
            errors = self.problem(answer, 422)["errors"]
            self.assertEqual([error["pointer"] for error in errors], [""])
        errors = self.problem(post("/api/orders", {}), 422)["errors"]
        self.assertEqual(
            sorted(error["pointer"] for error in errors),
            ["/clientId", "/deliveryAddresses", "/id", "/packages"],
        )

    def test_media_types(self):
        good = json.dumps(order("MEDIA"))
        for media in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "json", ""):
            self.problem(post("/api/orders", good, Content_Type=media), 415)
        self.problem(request("POST", "/api/orders", good), 415)
        for media in ("application/json; charset=utf-8", "Application/JSON"):
            self.assertEqual(post("/api/orders", good, Content_Type=media).status, 202)

    def test_paths_and_methods(self):
        for path in (
            "/nothing", "/api", "/api/orders/", "/api/orders/NONE", "/api/orders/NONE/status",
            "/api/orders/NONE/events", "/api/orders/%00", "/api/orders/%00/status",
            "/api/orders/%FF", "/api/orders/a%2Fb/status", "/api/orders/%F0%9F%93%A6",
            "/api/orders/" + "x" * 65, "/%00", "/api/services/health/",
        ):  # fmt: skip
            self.problem(get(path), 404)
        for method, path in [
            ("PUT", "/api/orders"), ("DELETE", "/api/orders"), ("POST", "/api/orders/X/status"),
            ("PATCH", "/api/orders/X"), ("GET", "/api/orders/X/cancel"), ("POST", "/health"),
            ("GET", "/api/services/cms/recover"), ("POST", "/api/events/stream"), ("PUT", "/"),
            ("DELETE", "/metrics"),
        ]:  # fmt: skip
            answer = request(method, path)
            self.problem(answer, 405)
            self.assertTrue(answer.headers["allow"], (method, path))

    def test_bodies_that_are_too_large(self):
        filler = order("LARGE")
        text = json.dumps(filler)
        exact = text + " " * (262_144 - len(text))
        answer = post("/api/orders", exact, Content_Type="application/json")
        self.assertEqual(answer.status, 202, answer)
        answer = post("/api/orders", exact + " ", Content_Type="application/json")
        self.problem(answer, 413)
        # Sent whole, without looking for an answer before its end.
        answer = post("/api/orders", b" " * 10 * 1024 * 1024, Content_Type="application/json")
        self.problem(answer, 413)
        # With no length told beforehand.
        chunks = (b" " * 65536 for _ in range(160))
        answer = post("/api/orders", chunks, Content_Type="application/json")
        self.problem(answer, 413)

    def test_a_client_that_asks_first_sends_no_large_body(self):
        with socket.create_connection(("127.0.0.1", wire.PORTS["service"]), wire.LIMIT) as raw:
            raw.sendall(
                b"POST /api/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 10485760\r\nExpect: 100-continue\r\n\r\n"
            )
            response = http.client.HTTPResponse(raw)
            response.begin()
            self.assertEqual(response.status, 413)

    def test_what_comes_later_is_not_here_yet(self):
        for method, path in [
            ("GET", "/api/sagas"), ("GET", "/api/sagas/X"), ("POST", "/api/sagas/X/retry"),
            ("GET", "/api/webhooks"), ("POST", "/api/webhooks"),
            ("DELETE", "/api/orders/X/personal-data"),
            ("GET", "/openapi.json"), ("GET", "/docs"),
        ]:  # fmt: skip
            answer = request(method, path)
            if answer.status != 404:
                self.skipTest("it has come")
            self.problem(answer, 404)


class Limits(unittest.TestCase):
    """Each at its maximum and one beyond."""

    count = 0

    def judge(self, **members):
        Limits.count += 1
        answer = post("/api/orders", order(f"LIMIT-{Limits.count}") | members)
        if answer.status == 202:
            return []
        self.assertEqual(answer.status, 422, answer)
        errors = answer.json()["errors"]
        for error in errors:
            self.assertEqual(list(error), ["pointer", "detail"])
        return [error["pointer"] for error in errors]

    def package(self, **members):
        return [{"sku": "ITEM-001"} | members]

    def test_ids(self):
        letters = "ABCXYZabcxyz0189._-"
        self.assertEqual(self.judge(id=letters), [])
        for name in ("id", "clientId"):
            self.assertEqual(self.judge(**{name: "x" * 64}), [])
            for bad in ("x" * 65, "", "a b", "a/b", "é", "a\n", None, 7, True, [], {}):
                self.assertEqual(self.judge(**{name: bad}), [f"/{name}"], repr(bad))
        self.assertEqual(self.judge(packages=self.package(sku="x" * 64)), [])
        for bad in ("x" * 65, "", "a b", None, 1):
            self.assertEqual(self.judge(packages=self.package(sku=bad)), ["/packages/0/sku"])

    def test_counts(self):
        for name, item, most in [
            ("packages", {"sku": "ITEM-001"}, 200),
            ("deliveryAddresses", "1 Main Street", 50),
        ]:
            self.assertEqual(self.judge(**{name: [item] * most}), [])
            for bad in ([item] * (most + 1), [], None, {}, "x", 1):
                self.assertEqual(self.judge(**{name: bad}), [f"/{name}"])
        self.assertEqual(self.judge(packages=["x"]), ["/packages/0"])

    def test_quantities(self):
        for good in (1, 100_000, None, 2.0):
            self.assertEqual(self.judge(packages=self.package(quantity=good)), [], good)
        for bad in (0, -1, 100_001, 1.5, "2", True, [], 1e30):
            self.assertEqual(
                self.judge(packages=self.package(quantity=bad)), ["/packages/0/quantity"], bad
            )

    def test_priorities(self):
        for good in ("STANDARD", "HIGH", "URGENT", None):
            self.assertEqual(self.judge(priority=good), [])
            self.assertEqual(self.judge(packages=self.package(priority=good)), [])
        for bad in ("standard", "", "LOW", 1, []):
            self.assertEqual(self.judge(priority=bad), ["/priority"])
            self.assertEqual(
                self.judge(packages=self.package(priority=bad)), ["/packages/0/priority"]
            )

    def test_texts(self):
        def both(text, wrong):
            self.assertEqual(
                self.judge(packages=self.package(description=text)),
                ["/packages/0/description"] if wrong else [], ascii(text),
            )  # fmt: skip
            self.assertEqual(
                self.judge(deliveryAddresses=["a", text]),
                ["/deliveryAddresses/1"] if wrong else [], ascii(text),
            )  # fmt: skip

        for good in ("x", "x" * 500, "\U0001f4e6" * 500, "\t\n\r", "\ud7ff\ue000\ufffd\U0010ffff", "\x7f\x85"):
            both(good, False)
        for bad in ("", "x" * 501, "\U0001f4e6" * 501, "\x00", "\x08", "\x0b", "\x1f", "\ufffe", "\uffff", 7, [], {}):
            both(bad, True)

    def test_all_at_once(self):
        pointers = self.judge(
            id=" ", priority="SOON",
            packages=[{"sku": "A", "quantity": 0}, {"sku": "", "description": ""}, 5],
            deliveryAddresses=["", "fine", "\x01"],
        )  # fmt: skip
        self.assertEqual(
            sorted(pointers),
            sorted([
                "/id", "/priority", "/packages/0/quantity", "/packages/1/sku",
                "/packages/1/description", "/packages/2",
                "/deliveryAddresses/0", "/deliveryAddresses/2",
            ]),
        )  # fmt: skip

    def test_the_largest_order_that_is_accepted_is_carried_by_all_three(self):
        # Each character is two bytes in JSON and up to six in XML.
        largest = order(
            "LARGEST-" + "x" * 56,
            packages=[
                {"sku": "ITEM-001", "description": '"' * 500, "quantity": 1, "priority": "STANDARD"}
            ] * 200,
            deliveryAddresses=["&" * 500] * 50,
        )  # fmt: skip
        text = json.dumps(largest, separators=(",", ":"))
        self.assertLess(len(text), 262_144)
        answer = post("/api/orders", text, Content_Type="application/json")
        self.assertEqual(answer.status, 202, answer)
        self.assertEqual(end_of(largest["id"])["status"], "READY_FOR_DELIVERY")
        read = get(f"/api/orders/{largest['id']}").json()
        self.assertEqual(read["packages"], largest["packages"])
        self.assertEqual(read["deliveryAddresses"], largest["deliveryAddresses"])


class Environment(unittest.TestCase):
    def refused(self, named, made=(), **variables):
        code, said, files = wire.run(**variables)
        self.assertEqual(code, 2, (variables, said))
        self.assertEqual(len(said), 1, (variables, said))
        self.assertIn(named, said[0], variables)
        self.assertTrue(set(files) <= set(made), (variables, files))

    def test_bad_values_are_named(self):
        for name, values in {
            "PORT": ["x", "-1", "65536", "4000 4001"],
            "BIND": ["0.0.0.0", "localhost", "::"],
            "ALLOW_NO_AUTH": ["maybe"],
            "DATABASE_URL": ["mysql://h/d", "orders.db", "sqlite://", "postgres:x"],
            "DATABASE_DIRECT_URL": ["postgresql://h/d"],
            "DATABASE_READ_URL": ["postgresql://h/d"],
            "KAFKA_BROKERS": ["localhost", "localhost:", ":9092", "a:1,,b:2", "a:99999"],
            "ORDER_EVENTS_TOPIC": ["a b", ".", "x" * 250],
            "RETRY_EVENTS_TOPIC": ["ä"],
            "HEALTH_EVENTS_TOPIC": ["a/b"],
            "CMS_URL": ["x", "tcp://h:1", "http://"],
            "WMS_URL": ["x", "https://h", "tcp://", "tcp:h"],
            "ROS_URL": ["x", "ftp://h"],
            "CMS_USERNAME": ["only"],
            "CMS_PASSWORD": ["only"],
            "CIRCUIT_BREAKER_THRESHOLD": ["0", "x", "-3", "1.5"],
            "CIRCUIT_BREAKER_TIMEOUT": ["0", "x", "30s"],
            "MAX_RETRY_ATTEMPTS": ["x", "-1", "1000000"],
            "RETRY_DELAY_MS": ["0", "x", "2s"],
            "CORS_ORIGINS": ["*", "example.com", "https://a/b"],
            "METRICS_BIND": ["x", "9100", "127.0.0.1"],
            "LOG_FORMAT": ["xml", "JSON"],
            "RUST_LOG": ["order_service=loud", "a=b=c"],
            "RATE_LIMIT_PER_MINUTE": ["x"],
            "JWKS_URL": ["x"],
            "OTEL_EXPORTER_OTLP_ENDPOINT": ["x"],
        }.items():
            for value in values:
                with self.subTest(name=name, value=value):
                    self.refused(name, **{name: value})
        with self.subTest("not UTF-8"):
            self.refused("DATA_DIR", **{"DATA_DIR": b"\xff".decode(errors="surrogateescape")})

    def test_one_topic_for_two_kinds_of_events(self):
        self.refused("RETRY_EVENTS_TOPIC", RETRY_EVENTS_TOPIC="order-events")

    def test_a_folder_that_cannot_be(self):
        self.refused("DATA_DIR", PORT="0", DATA_DIR="/dev/null/x")

    def test_a_database_that_is_not_there(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
            url = f"postgresql://nobody@127.0.0.1:{port}/none"
            self.refused("DATABASE_URL", PORT="0", DATABASE_URL=url)

    def test_taken_ports(self):
        # The service of these tests has them all.
        self.refused(str(wire.PORTS["service"]))
        self.refused("5001", made=["swifttrack-data"], PORT="0")
        self.refused("METRICS_BIND", PORT="0", METRICS_BIND="127.0.0.1:4000")

    def test_a_second_process_on_the_same_file(self):
        data = f"{service.folder}/swifttrack-data"
        # Of the partners it would be told that they are there already.
        elsewhere = {"CMS_URL": "http://h", "WMS_URL": "tcp://h", "ROS_URL": "http://h"}
        self.refused("orders.db", PORT="0", DATA_DIR=data, **elsewhere)
        url = f"sqlite://{data}/orders.db"
        self.refused("orders.db", PORT="0", DATABASE_URL=url, **elsewhere)
        self.assertEqual(get("/readyz").status, 200)


if __name__ == "__main__":
    unittest.main()
