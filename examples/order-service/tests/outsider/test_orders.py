"""An order's way: accepted, watched, ready; or refused and undone; or cancelled."""

import time
import unittest
import uuid

import wire
from wire import end_of, events, fault, get, kinds, live, moment, order, post, request, submit


def setUpModule():
    global service
    for port in [*wire.PORTS.values(), *wire.CONTROL.values()]:
        if wire.taken(port):
            raise unittest.SkipTest(f"port {port} is taken, and this is about the usual ports")
    service = wire.Service()


def tearDownModule():
    service.remove()


class Happy(unittest.TestCase):
    maxDiff = None

    def test_the_example_is_accepted_at_once_and_becomes_ready(self):
        began = time.monotonic()
        answer = post("/api/orders", order("ORD-001"))
        accepted_after = time.monotonic() - began
        self.assertEqual(answer.status, 202)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.headers["location"], "/api/orders/ORD-001")
        self.assertRegex(answer.headers["retry-after"], r"^\d+$")
        body = answer.json()
        self.assertEqual(list(body), ["status", "orderId", "message", "processing"])
        self.assertEqual(body["status"], "accepted")
        self.assertEqual(body["orderId"], "ORD-001")
        self.assertEqual(
            body["message"], "Order accepted and is being processed asynchronously"
        )
        processing = body["processing"]
        self.assertEqual(
            list(processing), ["status", "mode", "estimatedCompletion", "statusEndpoint"]
        )
        self.assertEqual(processing["status"], "PROCESSING")
        self.assertEqual(processing["mode"], "ASYNCHRONOUS")
        self.assertEqual(processing["statusEndpoint"], "/api/orders/ORD-001/status")

        status = end_of("ORD-001")
        print(
            f"\n  accepted after {accepted_after * 1000:.0f} ms,"
            f" ready after {(time.monotonic() - began) * 1000:.0f} ms"
        )
        self.assertEqual(list(status), ["orderId", "status", "processing", "steps"])
        self.assertEqual(status["status"], "READY_FOR_DELIVERY")
        self.assertEqual(
            status["processing"],
            {
                "currentStage": "PROCESSING_COMPLETE",
                "progress": {"completed": 3, "total": 3, "percentage": 100},
                "estimatedCompletion": None,
            },
        )
        self.assertEqual([(s["step"], s["name"]) for s in status["steps"]], wire.STEPS)
        for step in status["steps"]:
            self.assertEqual(list(step), ["step", "name", "status", "timestamp"])
            self.assertEqual(step["status"], "COMPLETED")
            moment(step["timestamp"])
        for partner in wire.CONTROL:
            self.assertEqual(live(partner, "ORD-001"), (1, 1), partner)

        story = events("ORD-001")
        self.assertEqual([event["eventType"] for event in story], wire.HAPPY_PATH)
        self.assertEqual([event["sequence"] for event in story], list(range(1, 10)))
        for event in story:
            members = ["eventId", "eventType", "orderId", "sequence", "timestamp", "version", "data"]
            self.assertEqual(list(event), members)
            self.assertEqual(uuid.UUID(event["eventId"]).version, 7)
            self.assertEqual((event["orderId"], event["version"]), ("ORD-001", 1))
            moment(event["timestamp"])
            self.assertNotIn("Main Street", str(event), "no address leaves the service")
        self.assertEqual(len({event["eventId"] for event in story}), 9)
        done = {event["eventType"]: event["data"] for event in story}
        for number, (kind, ids) in enumerate(
            [
                ("CMS_VERIFIED", ["contractId", "estimatedCost", "currency"]),
                ("WMS_REGISTERED", ["packageId", "location"]),
                ("ROS_OPTIMIZED", ["routeId", "etaMinutes", "assignedVehicle"]),
            ],
            1,
        ):
            self.assertEqual(done[kind]["progress"], {"completed": number, "total": 3})
            self.assertLessEqual(set(ids), set(done[kind]))

    def test_the_order_reads_back_as_it_was_submitted(self):
        submitted = order(
            "ORD-back",
            priority="URGENT",
            packages=[
                {"sku": "ITEM-002", "description": "<&\"'> é \t\n \U0001f4e6", "quantity": 3, "priority": "HIGH"},
                {"sku": "TEST"},
            ],
            deliveryAddresses=["1 A & B <Street>", "2 ]]> \u00fc"],
        )  # fmt: skip
        end_of(submit(submitted))
        read = get("/api/orders/ORD-back").json()
        self.assertEqual(
            list(read),
            ["id", "clientId", "priority", "packages", "deliveryAddresses",
             "status", "createdAt", "updatedAt", "partners"],
        )  # fmt: skip
        self.assertEqual(read["packages"][0], submitted["packages"][0])
        self.assertEqual(
            read["packages"][1], {"sku": "TEST", "quantity": 1, "priority": "STANDARD"}
        )
        for member in ["id", "clientId", "priority", "deliveryAddresses"]:
            self.assertEqual(read[member], submitted[member])
        self.assertEqual(read["status"], "READY_FOR_DELIVERY")
        self.assertLessEqual(moment(read["createdAt"]), moment(read["updatedAt"]))
        partners = read["partners"]
        self.assertEqual(list(partners), ["cms", "wms", "ros"])
        self.assertEqual(list(partners["cms"]), ["contractId", "estimatedCost", "currency"])
        # Two package lines, two addresses, and it is urgent.
        self.assertEqual(partners["cms"]["estimatedCost"], 2 * 250 + 2 * 150 + 500)
        self.assertEqual(partners["cms"]["currency"], "LKR")
        self.assertEqual(list(partners["wms"]), ["packageId", "location"])
        self.assertEqual(list(partners["ros"]), ["routeId", "etaMinutes", "assignedVehicle"])
        self.assertIsInstance(partners["ros"]["etaMinutes"], int)

    def test_the_steps_in_between_are_seen(self):
        for partner in wire.CONTROL:
            fault(partner, {"op": "*", "mode": "latency", "ms": 300})
        self.addCleanup(wire.no_faults)
        submit(order("ORD-between"))
        seen = {}

        def look():
            body = get("/api/orders/ORD-between/status").json()
            processing = body["processing"]
            seen[processing["currentStage"]] = (
                processing["progress"]["completed"],
                processing["progress"]["percentage"],
                tuple(step["status"] for step in body["steps"]),
            )
            if body["status"] == "PROCESSING" and processing["estimatedCompletion"]:
                moment(processing["estimatedCompletion"])
            for step in body["steps"]:
                ended = step["status"] == "COMPLETED"
                self.assertEqual(step["timestamp"] is not None, ended, body)
            return body["status"] in wire.ENDED

        wire.until("it has ended", look)
        seen.pop("QUEUED", None)
        self.assertEqual(
            seen,
            {
                "CMS_PROCESSING": (0, 0, ("IN_PROGRESS", "PENDING", "PENDING")),
                "WMS_PROCESSING": (1, 33, ("COMPLETED", "IN_PROGRESS", "PENDING")),
                "ROS_PROCESSING": (2, 66, ("COMPLETED", "COMPLETED", "IN_PROGRESS")),
                "PROCESSING_COMPLETE": (3, 100, ("COMPLETED",) * 3),
            },
        )

    def test_a_defaults_only_order_is_the_same_as_one_that_spells_them_out(self):
        short = {
            "id": "ORD-short", "clientId": "CLIENT-002",
            "packages": [{"sku": "ITEM-040"}], "deliveryAddresses": ["somewhere"],
        }  # fmt: skip
        spelled = short | {
            "priority": "STANDARD",
            "packages": [{"sku": "ITEM-040", "description": None, "quantity": 1, "priority": "STANDARD"}],
        }
        first = post("/api/orders", short).json()
        again = post("/api/orders", spelled)
        self.assertEqual(again.status, 202)
        for body in (first, again.json()):
            del body["processing"]["estimatedCompletion"]
        self.assertEqual(first, again.json() | {"processing": first["processing"]})
        end_of("ORD-short")
        self.assertEqual(post("/api/orders", spelled).status, 202)
        self.assertEqual(kinds("ORD-short"), wire.HAPPY_PATH)


class Refused(unittest.TestCase):
    def undone(self, id, code, step, undone):
        status = end_of(id)
        self.assertEqual(status["status"], "FAILED")
        self.assertEqual(list(status), ["orderId", "status", "processing", "steps", "failure"])
        failure = status["failure"]
        self.assertEqual(list(failure), ["step", "code", "message", "suggestedAction"])
        self.assertEqual((failure["step"], failure["code"]), (step, code))
        self.assertEqual(status["processing"]["currentStage"], "COMPENSATED")
        self.assertEqual(
            status["processing"]["progress"], {"completed": 0, "total": 3, "percentage": 0}
        )
        self.assertIsNone(status["processing"]["estimatedCompletion"])
        place = [name for name, _ in wire.STEPS].index(step)
        wanted = ["COMPENSATED"] * place + ["FAILED"] + ["PENDING"] * (2 - place)
        self.assertEqual([s["status"] for s in status["steps"]], wanted)

        story = events(id)
        self.assertEqual([event["sequence"] for event in story], list(range(1, len(story) + 1)))
        tail = [f"{step[:3]}_FAILED"]
        tail += [f"{partner}_COMPENSATION_EXECUTED" for partner in undone]
        tail += ["ORDER_SAGA_COMPENSATED", "ORDER_FAILED"]
        self.assertEqual([event["eventType"] for event in story][-len(tail):], tail)
        compensated = story[-2]["data"]
        self.assertEqual([name[:3] for name in compensated["compensatedSteps"]], undone)
        self.assertTrue(compensated["reason"])
        self.assertEqual(story[-1]["data"]["code"], code)

        for partner in wire.CONTROL:
            done = int(partner.upper() in undone)
            self.assertEqual(live(partner, id), (0, done), partner)
        partners = get(f"/api/orders/{id}").json()["partners"]
        self.assertEqual(partners, {"cms": None, "wms": None, "ros": None})
        # The same order again is the same answer, and no second saga.
        self.assertEqual(len(story), len(events(id)))

    def test_a_suspended_client(self):
        id = submit(order("ORD-suspended", clientId="CLIENT-003"))
        self.undone(id, "CLIENT_SUSPENDED", "CMS_VERIFICATION", [])

    def test_an_expired_contract(self):
        id = submit(order("ORD-expired", clientId="CLIENT-EXPIRED"))
        self.undone(id, "CONTRACT_EXPIRED", "CMS_VERIFICATION", [])

    def test_a_client_without_credit(self):
        id = submit(order("ORD-poor", clientId="CLIENT-POOR"))
        self.undone(id, "CREDIT_LIMIT_EXCEEDED", "CMS_VERIFICATION", [])

    def test_a_stranger(self):
        id = submit(order("ORD-stranger", clientId="NOBODY"))
        self.undone(id, "INVALID_CLIENT_ID", "CMS_VERIFICATION", [])

    def test_too_little_stock(self):
        id = submit(order("ORD-low", packages=[{"sku": "SKU-LOW", "quantity": 3}]))
        self.undone(id, "INVENTORY_SHORTAGE", "WMS_REGISTRATION", ["CMS"])

    def test_an_unknown_piece(self):
        id = submit(order("ORD-unknown", packages=[{"sku": "ITEM-041"}]))
        self.undone(id, "INVALID_SKU", "WMS_REGISTRATION", ["CMS"])

    def test_a_restricted_address(self):
        id = submit(order("ORD-restricted", deliveryAddresses=["5 RESTRICTED Road"]))
        self.undone(id, "UNKNOWN_ZONE", "ROS_OPTIMIZATION", ["WMS", "CMS"])
        self.assertEqual(post("/api/orders", order("ORD-restricted", deliveryAddresses=["5 RESTRICTED Road"])).status, 202)
        self.undone(id, "UNKNOWN_ZONE", "ROS_OPTIMIZATION", ["WMS", "CMS"])


class Cancelled(unittest.TestCase):
    def test_a_running_order_is_undone_and_a_finished_one_is_not(self):
        self.addCleanup(wire.no_faults)
        fault("ros", {"op": "put", "mode": "error"})
        submit(order("ORD-cancel"))
        wire.status_when(
            "it waits for the ROS", "ORD-cancel",
            lambda status: status["steps"][2]["status"] == "RETRYING",
        )  # fmt: skip
        retrying = get("/api/orders/ORD-cancel/status").json()
        step = retrying["steps"][2]
        self.assertEqual(
            list(step), ["step", "name", "status", "timestamp", "attempt", "nextRetryAt", "error"]
        )
        self.assertEqual(step["attempt"], 1)
        moment(step["nextRetryAt"])

        answer = post("/api/orders/ORD-cancel/cancel")
        self.assertEqual(answer.status, 202, answer)
        wire.no_faults()
        status = end_of("ORD-cancel")
        self.assertEqual(status["status"], "CANCELLED")
        self.assertEqual(status["processing"]["currentStage"], "COMPENSATED")
        self.assertNotIn("failure", status)
        story = kinds("ORD-cancel")
        self.assertIn("ORDER_CANCEL_REQUESTED", story)
        self.assertNotIn("ROS_FAILED", story[: story.index("ORDER_CANCEL_REQUESTED")])
        tail = ["WMS_COMPENSATION_EXECUTED", "CMS_COMPENSATION_EXECUTED",
                "ORDER_SAGA_COMPENSATED", "ORDER_CANCELLED"]  # fmt: skip
        self.assertEqual(story[-4:], tail)
        for partner in wire.CONTROL:
            self.assertEqual(live(partner, "ORD-cancel")[0], 0, partner)
        self.assertEqual(post("/api/orders/ORD-cancel/cancel").status, 409)

        end_of(submit(order("ORD-finished")))
        problem = post("/api/orders/ORD-finished/cancel")
        self.assertEqual(problem.status, 409)
        self.assertEqual(problem.headers["content-type"], "application/problem+json")
        self.assertEqual(post("/api/orders/ORD-none/cancel").status, 404)
        self.assertEqual(request("POST", "/api/orders/%00/cancel").status, 404)


class Keys(unittest.TestCase):
    """`Idempotency-Key`: one key of one client stands for one order for a day."""

    def test_a_key_stands_for_one_body_of_one_client(self):
        mine = order("ORD-key-1")
        for _ in range(2):
            self.assertEqual(post("/api/orders", mine, Idempotency_Key="k-1").status, 202)
        end_of("ORD-key-1")
        self.assertEqual(post("/api/orders", mine, Idempotency_Key="k-1").status, 202)
        self.assertEqual(kinds("ORD-key-1"), wire.HAPPY_PATH)

        for other in (order("ORD-key-2"), order("ORD-key-1", priority="HIGH")):
            answer = post("/api/orders", other, Idempotency_Key="k-1")
            self.assertEqual(answer.status, 422, answer)
            self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertEqual(get("/api/orders/ORD-key-2").status, 404)
        # Another client's key of the same name is another key.
        theirs = order("ORD-key-3", clientId="CLIENT-002")
        self.assertEqual(post("/api/orders", theirs, Idempotency_Key="k-1").status, 202)
        # An order that is there already may get a key, and then it stands for that.
        self.assertEqual(post("/api/orders", mine, Idempotency_Key="k-2").status, 202)
        answer = post("/api/orders", order("ORD-key-4"), Idempotency_Key="k-2")
        self.assertEqual(answer.status, 422)

    def test_a_refused_order_uses_no_key_up(self):
        submit(order("ORD-key-5"))
        conflict = order("ORD-key-5", priority="HIGH")
        self.assertEqual(post("/api/orders", conflict, Idempotency_Key="k-5").status, 409)
        invalid = order("ORD key 5")
        self.assertEqual(post("/api/orders", invalid, Idempotency_Key="k-5").status, 422)
        self.assertEqual(post("/api/orders", order("ORD-key-6"), Idempotency_Key="k-5").status, 202)

    def test_a_key_has_a_length(self):
        for length, status in [(255, 202), (256, 400)]:
            answer = post("/api/orders", order(f"ORD-key-{length}"), Idempotency_Key="k" * length)
            self.assertEqual(answer.status, status, answer)
        self.assertEqual(post("/api/orders", order("ORD-key-0"), Idempotency_Key="").status, 400)


class Conflict(unittest.TestCase):
    def test_another_order_under_a_taken_id(self):
        submit(order("ORD-taken"))
        for other in (
            order("ORD-taken", clientId="CLIENT-002"),
            order("ORD-taken", priority="URGENT"),
            order("ORD-taken", deliveryAddresses=["123 Main Street, City, Country "]),
        ):
            answer = post("/api/orders", other)
            self.assertEqual(answer.status, 409, answer)
            self.assertEqual(answer.headers["content-type"], "application/problem+json")
            self.assertEqual(answer.json()["instance"], "/api/orders/ORD-taken")
        end_of("ORD-taken")
        self.assertEqual(kinds("ORD-taken"), wire.HAPPY_PATH)
        self.assertEqual(get("/api/orders/ORD-taken").json()["priority"], "STANDARD")


if __name__ == "__main__":
    unittest.main()
