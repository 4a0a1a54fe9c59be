"""The three stand-ins, each by its own protocol."""

import http.client
import json
import socket
import struct
import unittest
import xml.etree.ElementTree as ET

import wire
from wire import fault, live, order, request

CMS = "http://swiftlogistics.lk/cms/v1"
SOAP = {
    "/cms": ("http://schemas.xmlsoap.org/soap/envelope/", "text/xml"),
    "/cms12": ("http://www.w3.org/2003/05/soap-envelope", "application/soap+xml"),
}


def setUpModule():
    global service
    for port in [*wire.PORTS.values(), *wire.CONTROL.values()]:
        if wire.taken(port):
            raise unittest.SkipTest(f"port {port} is taken, and this is about the usual ports")
    service = wire.Service()


def tearDownModule():
    service.remove()


class Cms(unittest.TestCase):
    """SOAP 1.1 and 1.2."""

    def ask(self, operation, body, key="", path="/cms", **headers):
        envelope, media = SOAP[path]
        action = f"{CMS}/{operation}"
        text = (
            f'<e:Envelope xmlns:e="{envelope}" xmlns="{CMS}"><e:Header><RequestContext>'
            f"<RequestId>r-1</RequestId><IdempotencyKey>{key}</IdempotencyKey></RequestContext>"
            f"</e:Header><e:Body><{operation}Request>{body}</{operation}Request></e:Body></e:Envelope>"
        )
        if path == "/cms":
            headers |= {"Content-Type": f"{media}; charset=utf-8", "SOAPAction": f'"{action}"'}
        else:
            headers |= {"Content-Type": f'{media}; charset=utf-8; action="{action}"'}
        answer = request("POST", path, text.encode(), headers, wire.PORTS["cms"])
        body = ET.fromstring(answer.body).find(f"{{{envelope}}}Body")[0]
        return answer, body

    def verify(self, id, client="CLIENT-001", quantity="2", **more):
        body = (
            f"<OrderId>{id}</OrderId><ClientId>{client}</ClientId><Priority>URGENT</Priority>"
            f"<PackageList><Package><SKU>ITEM-001</SKU><Quantity>{quantity}</Quantity></Package></PackageList>"
            "<DeliveryAddresses><Address>a</Address><Address>b</Address></DeliveryAddresses>"
        )
        return self.ask("VerifyContract", body, **more)

    def members(self, body):
        return {child.tag.split("}")[1]: child.text for child in body}

    def test_a_contract_is_verified_once_asked_about_and_cancelled(self):
        for path in SOAP:
            id = "CMS" + path.replace("/", "-")
            for replayed in ("false", "true"):
                answer, body = self.verify(id, path=path, **{"X-Request-ID": "x-7"})
                self.assertEqual(answer.status, 200, answer)
                self.assertEqual(answer.headers["x-request-id"], "x-7")
                self.assertTrue(answer.headers["content-type"].startswith(SOAP[path][1]))
                self.assertEqual(body.tag, f"{{{CMS}}}VerifyContractResponse")
                given = self.members(body)
                self.assertEqual(
                    list(given),
                    ["Status", "ContractId", "BillingStatus", "EstimatedCost", "Currency",
                     "RemainingCredit", "ValidUntil", "Replayed"],
                )  # fmt: skip
                self.assertEqual(given["EstimatedCost"], "1050.00")
                self.assertEqual((given["Status"], given["Currency"]), ("SUCCESS", "LKR"))
                self.assertEqual((given["BillingStatus"], given["Replayed"]), ("APPROVED", replayed))
            _, body = self.ask("GetContract", f"<OrderId>{id}</OrderId>", path=path)
            self.assertEqual(
                self.members(body), {"State": "VERIFIED", "ContractId": given["ContractId"]}
            )
            cancel = f"<OrderId>{id}</OrderId><Reason>why</Reason>"
            for key, state in [("k1", "CANCELLED"), ("k1", "CANCELLED"), ("k2", "ALREADY_CANCELLED")]:
                _, body = self.ask("CancelContract", cancel, key=id + key, path=path)
                self.assertEqual(self.members(body), {"State": state})
            _, body = self.ask("GetContract", f"<OrderId>{id}</OrderId>", path=path)
            self.assertEqual(self.members(body)["State"], "CANCELLED")
            self.assertEqual(live("cms", id), (0, 1))

    def test_faults(self):
        def detail(fault):
            found = fault.find(f".//{{{CMS}}}CmsFault")
            return {child.tag.split("}")[1]: child.text for child in found}

        for client, code in [
            ("CLIENT-003", "CLIENT_SUSPENDED"), ("CLIENT-EXPIRED", "CONTRACT_EXPIRED"),
            ("CLIENT-POOR", "CREDIT_LIMIT_EXCEEDED"), ("X", "INVALID_CLIENT_ID"),
        ]:  # fmt: skip
            answer, fault = self.verify("CMS-" + code, client)
            self.assertEqual(answer.status, 500)
            self.assertEqual(fault.find("faultcode").text.split(":")[1], "Client")
            self.assertEqual((detail(fault)["Code"], detail(fault)["Class"]), (code, "REJECTED"))
            answer, fault = self.verify("CMS-" + code, client, path="/cms12")
            self.assertEqual(answer.status, 400)
            self.assertEqual(detail(fault)["Code"], code)
            self.assertIn("Sender", ET.tostring(fault).decode())
        answer, fault = self.verify("CMS-bad", quantity="0")
        self.assertEqual((answer.status, detail(fault)["Code"]), (500, "MALFORMED"))
        # What never happened and is cancelled cannot happen any more.
        _, body = self.ask("CancelContract", "<OrderId>CMS-late</OrderId><Reason>why</Reason>")
        self.assertEqual(self.members(body), {"State": "TOMBSTONED"})
        _, fault = self.verify("CMS-late")
        self.assertEqual(detail(fault)["Code"], "CANCELLED")
        self.verify("CMS-once", key="one")
        _, fault = self.verify("CMS-other", key="one")
        self.assertEqual(detail(fault)["Code"], "KEY_REUSED")

    def test_a_description_for_other_stacks(self):
        answer = request("GET", "/cms?wsdl", port=wire.PORTS["cms"])
        self.assertEqual(answer.status, 200)
        wsdl = ET.fromstring(answer.body)
        found = wsdl.find("{http://schemas.xmlsoap.org/wsdl/}service")
        self.assertEqual(found.get("name"), "CmsService")
        self.assertEqual([port.get("name") for port in found], ["CmsPort", "CmsPort12"])
        self.assertIn(b"127.0.0.1:5001/cms", answer.body)
        self.assertEqual(request("GET", "/health", port=wire.PORTS["cms"]).status, 200)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def text(value):
    return struct.pack(">H", len(value.encode())) + value.encode()


class Frames:
    """A connection to the WMS."""

    def __init__(self, hello=True):
        self.socket = socket.create_connection(("127.0.0.1", wire.PORTS["wms"]), wire.LIMIT)
        self.id = 0
        if hello:
            self.ack = self.ask(0x01, struct.pack(">BB", 1, 1) + text("outsider") + text(""))

    def frame(self, kind, payload=b"", deadline=0, id=None, flags=0):
        if id is None:
            self.id += 1
            id = self.id
        head = struct.pack(">4sBBHQII", b"SWMS", 1, kind, flags, id, deadline, len(payload))
        return head + struct.pack(">I", crc32c(head + payload)) + payload

    def ask(self, kind, payload=b"", **more):
        self.socket.sendall(self.frame(kind, payload, **more))
        return self.answer()

    def answer(self):
        """The next answer that is no heartbeat: type, id, payload; None if the server closes."""
        while head := self.read(28):
            magic, version, kind, flags, id, _, length, crc = struct.unpack(">4sBBHQIII", head)
            payload = self.read(length)
            assert (magic, version, flags) == (b"SWMS", 1, 0), head
            assert crc == crc32c(head[:24] + payload), head
            if kind not in (0x03,):
                return kind, id, payload
        return None

    def read(self, length):
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                return b""
            data += part
        return data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class Wms(unittest.TestCase):
    """Frames."""

    def register(self, wms, id, sku="ITEM-001", quantity=2, key="", **more):
        payload = text("") + text(key) + text(id) + text("CLIENT-001") + b"\1"
        payload += struct.pack(">H", 1) + text(sku) + text("") + struct.pack(">IBB", quantity, 0, 4)
        payload += struct.pack(">H", 1) + text("1 Main Street")
        return wms.ask(0x10, payload, **more)

    def about(self, wms, kind, id, *more, key=""):
        return wms.ask(kind, text("") + text(key) + text(id) + b"".join(map(text, more)))

    def code(self, answer):
        self.assertEqual(answer[0], 0xFF, answer)
        return struct.unpack(">HB", answer[2][:3])

    def test_the_vectors(self):
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        with Frames(hello=False) as wms:
            ping = "53574d530103000000000000000000010000000000000000ce5eb9d2"
            self.assertEqual(wms.frame(0x03).hex(), ping)
            cancel = (
                "53574d53011100000000000000000002000005dc0000001fb5d0fd260000000c4f52442d313a63616e"
                "63656c00054f52442d310000000473616761"
            )
            payload = text("") + text("ORD-1:cancel") + text("ORD-1") + text("") + text("saga")
            self.assertEqual(wms.frame(0x11, payload, 1500).hex(), cancel)

    def test_packages_are_registered_once_asked_about_and_cancelled(self):
        with Frames() as wms:
            kind, id, payload = wms.ack
            self.assertEqual((kind, id, payload[0]), (0x81, 1, 1))
            most, window, heartbeat = struct.unpack(">IHI", payload[1:])
            self.assertTrue(most == 1024 * 1024 and 0 < window and 0 < heartbeat)
            self.assertEqual(wms.ask(0x03)[:2], (0x83, 2))
            for replayed in (0, 1):
                kind, id, payload = self.register(wms, "WMS-1")
                self.assertEqual((kind, id, payload[0]), (0x90, wms.id, replayed))
            length = struct.unpack(">H", payload[1:3])[0]
            package = payload[3 : 3 + length].decode()
            rest = payload[3 + length :]
            zone = rest[2 : 2 + struct.unpack(">H", rest[:2])[0]].decode()
            self.assertRegex(zone, "^[A-J]1$")
            tail = rest[2 + len(zone) + 8 :]
            self.assertEqual(tail, struct.pack(">H", 1) + text("ITEM-001") + struct.pack(">I", 2))
            kind, _, payload = self.about(wms, 0x12, "WMS-1")
            self.assertEqual((kind, payload), (0x92, b"\1" + text(package)))
            for key, state in [("k1", 0), ("k1", 0), ("k2", 1)]:
                kind, _, payload = self.about(wms, 0x11, "WMS-1", "", "why", key=key)
                self.assertEqual((kind, payload), (0x91, bytes([state])), key)
            self.assertEqual(self.about(wms, 0x12, "WMS-1")[2][0], 2)
            self.assertEqual(self.about(wms, 0x12, "WMS-none")[2], b"\0" + text(""))
            self.assertEqual(live("wms", "WMS-1"), (0, 1))

    def test_refusals(self):
        with Frames() as wms:
            self.assertEqual(self.code(self.register(wms, "WMS-2", "SKU-X")), (404, 0))
            self.assertEqual(self.code(self.register(wms, "WMS-2", "SKU-LOW", 3)), (409, 0))
            self.assertEqual(self.about(wms, 0x11, "WMS-3", "", "why")[2], b"\2")
            self.assertEqual(self.code(self.register(wms, "WMS-3")), (410, 0))
            self.register(wms, "WMS-4", key="one")
            self.assertEqual(self.code(self.register(wms, "WMS-5", key="one")), (422, 0))
            self.assertEqual(self.code(wms.ask(0x42)), (400, 0))
            self.assertEqual(self.code(wms.ask(0x12, text("") + text("") + text("X") + b"!")), (400, 0))
            self.assertEqual(self.code(wms.ask(0x12, text("") + text("") + b"\0\1\xff")), (400, 0))
            fault("wms", {"op": "register", "mode": "error", "count": 1})
            self.assertEqual(self.code(self.register(wms, "WMS-6")), (429, 1))
            self.assertEqual(self.register(wms, "WMS-6")[0], 0x90)
        with Frames(hello=False) as wms:
            self.assertEqual(self.code(self.about(wms, 0x12, "X")), (400, 0))
        with Frames(hello=False) as wms:
            answer = wms.ask(0x01, struct.pack(">BB", 2, 9) + text("x") + text(""))
            self.assertEqual(self.code(answer)[0], 505)
            self.assertIsNone(wms.answer())

    def test_what_is_no_frame_ends_the_connection_without_an_answer(self):
        def spoil(at):
            def spoiled(frame):
                return frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]

            return spoiled

        for name, change in {
            "magic": spoil(0), "version": spoil(4), "flags": spoil(7), "crc": spoil(27),
            "payload": spoil(30), "length": lambda f: f[:20] + b"\xff\xff\xff\xff" + f[24:],
        }.items():  # fmt: skip
            with self.subTest(name), Frames() as wms:
                wms.socket.sendall(change(wms.frame(0x12, text("") + text("") + text("X"))))
                self.assertIsNone(wms.answer())


class Ros(unittest.TestCase):
    """REST."""

    body = {
        "clientId": "CLIENT-001", "priority": "STANDARD",
        "packages": order("x")["packages"], "deliveryAddresses": ["1 Main Street", "2 Main Street"],
    }  # fmt: skip

    def ask(self, method, id, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"/v1/orders/{id}/route"
        return request(method, path, body, headers, port=wire.PORTS["ros"])

    def refused(self, answer, status, code, kind="REJECTED"):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertEqual((answer.json()["code"], answer.json()["class"]), (code, kind))
        return answer

    def test_a_route_is_made_once_read_and_deleted(self):
        first = self.ask("PUT", "ROS-1", self.body, X_Request_ID="x-9")
        self.assertEqual(first.status, 201, first)
        self.assertEqual(first.headers["location"], "/v1/orders/ROS-1/route")
        self.assertEqual(first.headers["x-request-id"], "x-9")
        route = first.json()
        self.assertEqual(
            set(route),
            {"orderId", "routeId", "etaMinutes", "totalDistanceKm", "assignedDriver",
             "assignedVehicle", "optimizedStops", "estimatedDelivery", "optimizationScore", "replayed"},
        )  # fmt: skip
        self.assertEqual([stop["sequence"] for stop in route["optimizedStops"]], [1, 2])
        again = self.ask("PUT", "ROS-1", self.body)
        self.assertEqual((again.status, again.json()), (200, route | {"replayed": True}))
        read = self.ask("GET", "ROS-1")
        self.assertEqual(read.status, 200)
        self.assertEqual(read.json()["routeId"], route["routeId"])
        for _ in range(2):
            self.assertEqual(self.ask("DELETE", "ROS-1").status, 204)
        self.refused(self.ask("GET", "ROS-1"), 410, "CANCELLED")
        self.refused(self.ask("PUT", "ROS-1", self.body), 410, "CANCELLED")
        self.assertEqual(live("ros", "ROS-1"), (0, 1))

    def test_refusals(self):
        nowhere = self.body | {"deliveryAddresses": []}
        self.refused(self.ask("PUT", "ROS-2", nowhere), 400, "MISSING_DELIVERY_ADDRESSES")
        restricted = self.body | {"deliveryAddresses": ["RESTRICTED"]}
        self.refused(self.ask("PUT", "ROS-2", restricted), 422, "UNKNOWN_ZONE")
        self.assertEqual(self.ask("GET", "ROS-2").status, 404)
        self.assertEqual(self.ask("DELETE", "ROS-2").status, 204)
        self.refused(self.ask("PUT", "ROS-2", self.body), 410, "CANCELLED")
        self.assertEqual(self.ask("PUT", "ROS-3", self.body).status, 201)
        other = self.body | {"priority": "HIGH"}
        self.refused(self.ask("PUT", "ROS-3", other), 409, "KEY_REUSED")
        fault("ros", {"op": "put", "mode": "error", "count": 1})
        busy = self.ask("PUT", "ROS-4", self.body)
        self.refused(busy, 429, "BUSY", "NOT_APPLIED")
        self.assertRegex(busy.headers["retry-after"], r"^\d+$")
        fault("ros", {"op": "put", "mode": "error", "count": 1, "code": "NO_AVAILABLE_VEHICLES"})
        none = self.ask("PUT", "ROS-4", self.body)
        self.refused(none, 503, "NO_AVAILABLE_VEHICLES", "NOT_APPLIED")
        fault("ros", {"op": "put", "mode": "reset_after_commit", "count": 1})
        with self.assertRaises((ConnectionError, http.client.HTTPException)):
            self.ask("PUT", "ROS-4", self.body)
        self.assertEqual(self.ask("PUT", "ROS-4", self.body).status, 200, "it was done")
        for path in ("/v1/vehicles", "/v1/zones", "/health"):
            answer = request("GET", path, port=wire.PORTS["ros"])
            self.assertEqual(answer.status, 200)
            json.loads(answer.body)


if __name__ == "__main__":
    unittest.main()
