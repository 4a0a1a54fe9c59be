"""Speaks to partner-cms as a foreign client would: zeep, strict, from nothing but the WSDL.

    partner-cms --listen 127.0.0.1:5001 --data $(mktemp -d) --username alice --password secret &
    pip install -r requirements.txt
    python check_zeep.py http://127.0.0.1:5001 [user password]

Exits with 0 if every answer was as the contract says. The ledger must be empty.
"""

import sys
from decimal import Decimal

import zeep
from zeep.exceptions import Fault
from zeep.wsse.username import UsernameToken

base = sys.argv[1]
token = UsernameToken(sys.argv[2], sys.argv[3], use_digest=True) if len(sys.argv) > 3 else None
settings = zeep.Settings(strict=True, xsd_ignore_sequence_order=False, forbid_external=True)
client = zeep.Client(f"{base}/cms?wsdl", settings=settings, wsse=token)
checks = 0


def same(found, expected):
    global checks
    checks += 1
    assert found == expected, f"{found!r} is not {expected!r}"


def order(number, client_id="CLIENT-001", priority="URGENT"):
    return {
        "OrderId": number,
        "ClientId": client_id,
        "Priority": priority,
        "PackageList": {
            "Package": [
                {"SKU": "ITEM-001", "Description": "Tea & <biscuits> ]]> \U0001f4e6", "Quantity": 2},
                {"SKU": "ITEM-002", "Quantity": 1, "Priority": "HIGH"},
            ]
        },
        "DeliveryAddresses": {"Address": ["1 Galle Road", "Kandy\nSri Lanka"]},
    }


def context(key):
    return {"context": {"RequestId": f"request of {key}", "IdempotencyKey": key, "TraceParent": "00-x"}}


def fault(call, code, kind):
    """Makes a call that must fail, and reads the detail by the schema."""
    try:
        call()
    except Fault as error:
        element = error.detail.find("{http://swiftlogistics.lk/cms/v1}CmsFault")
        detail = client.get_element("{http://swiftlogistics.lk/cms/v1}CmsFault").parse(
            element, client.wsdl.types
        )
        same((detail.Code, detail.Class), (code, kind))
        return error
    raise AssertionError(f"no fault, where {code} was expected")


same([port for port in client.wsdl.services["CmsService"].ports], ["CmsPort", "CmsPort12"])

for port in ["CmsPort", "CmsPort12"]:
    cms = client.bind("CmsService", port)
    number = f"ZEEP-{port}"
    key = f"{number}:CMS_VERIFICATION"

    same(cms.GetContract(OrderId=number).State, "NONE")

    given = cms.VerifyContract(**order(number), _soapheaders=context(key))
    same((given.Status, given.BillingStatus, given.Currency), ("SUCCESS", "APPROVED", "LKR"))
    same(given.EstimatedCost, Decimal("1300.00"))
    same(given.Replayed, False)

    again = cms.VerifyContract(**order(number), _soapheaders=context(key))
    same((again.ContractId, again.Replayed), (given.ContractId, True))

    found = cms.GetContract(OrderId=number)
    same((found.State, found.ContractId), ("VERIFIED", given.ContractId))

    fault(lambda: cms.VerifyContract(**order(number, priority="HIGH"), _soapheaders=context(key)),
          "KEY_REUSED", "REJECTED")
    for who, code in [
        ("NOBODY", "INVALID_CLIENT_ID"),
        ("CLIENT-003", "CLIENT_SUSPENDED"),
        ("CLIENT-EXPIRED", "CONTRACT_EXPIRED"),
        ("CLIENT-POOR", "CREDIT_LIMIT_EXCEEDED"),
    ]:
        refused = fault(lambda: cms.VerifyContract(**order(f"{number}-{who}", who)), code, "REJECTED")
        checks += 1
        assert "Client" in refused.code or "Sender" in refused.code, refused.code

    gone = cms.CancelContract(OrderId=number, ContractId=given.ContractId, Reason="zeep",
                              _soapheaders=context(f"{key}:undo"))
    same(gone, "CANCELLED")
    same(cms.GetContract(OrderId=number).State, "CANCELLED")
    never = cms.CancelContract(OrderId=f"{number}-never", Reason="zeep")
    same(never, "TOMBSTONED")
    fault(lambda: cms.VerifyContract(**order(f"{number}-never")), "CANCELLED", "REJECTED")

if token:
    stranger = zeep.Client(f"{base}/cms?wsdl", settings=settings,
                           wsse=UsernameToken(sys.argv[2], "guess", use_digest=True))
    fault(lambda: stranger.service.GetContract(OrderId="ZEEP"), "AUTH_FAILED", "NOT_APPLIED")

print(f"zeep {zeep.__version__}: {checks} checks, all as the contract says")
