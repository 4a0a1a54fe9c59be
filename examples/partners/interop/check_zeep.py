"""Speaks to partner-cms as a foreign client would: zeep, strict, from nothing but the WSDL.

    pip install -r requirements.txt
    python3 check_zeep.py target/debug/partner-cms

Starts the contract system itself, once for everybody and once for those with a password. Exits with
0 if every answer was as the contract says.
"""

import sys
from decimal import Decimal

import zeep
from zeep.exceptions import Fault
from zeep.wsse.username import UsernameToken

from partner import running

SETTINGS = zeep.Settings(strict=True, xsd_ignore_sequence_order=False, forbid_external=True)
FAULT = "{http://swiftlogistics.lk/cms/v1}CmsFault"

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


def fault(client, call, code, kind):
    """Makes a call that must fail, and reads the detail by the schema."""
    try:
        call()
    except Fault as error:
        detail = client.get_element(FAULT).parse(error.detail.find(FAULT), client.wsdl.types)
        same((detail.Code, detail.Class), (code, kind))
        same(("Client" in error.code or "Sender" in error.code), kind == "REJECTED" or code == "AUTH_FAILED")
        return
    raise AssertionError(f"no fault, where {code} was expected")


def each_operation(client, port):
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

    other = order(number, priority="HIGH")
    fault(client, lambda: cms.VerifyContract(**other, _soapheaders=context(key)), "KEY_REUSED", "REJECTED")
    for who, code in [
        ("NOBODY", "INVALID_CLIENT_ID"),
        ("CLIENT-003", "CLIENT_SUSPENDED"),
        ("CLIENT-EXPIRED", "CONTRACT_EXPIRED"),
        ("CLIENT-POOR", "CREDIT_LIMIT_EXCEEDED"),
    ]:
        fault(client, lambda: cms.VerifyContract(**order(f"{number}-{who}", who)), code, "REJECTED")

    undo = {"OrderId": number, "ContractId": given.ContractId, "Reason": "zeep"}
    same(cms.CancelContract(**undo, _soapheaders=context(f"{key}:undo")), "CANCELLED")
    same(cms.GetContract(OrderId=number).State, "CANCELLED")
    same(cms.CancelContract(OrderId=f"{number}-never", Reason="zeep"), "TOMBSTONED")
    fault(client, lambda: cms.VerifyContract(**order(f"{number}-never")), "CANCELLED", "REJECTED")


def client_of(port, *token):
    wsse = UsernameToken(*token, use_digest=True) if token else None
    return zeep.Client(f"http://127.0.0.1:{port}/cms?wsdl", settings=SETTINGS, wsse=wsse)


def main(program):
    token = ("alice", "sécret & <more>")
    with running(program) as port:
        client = client_of(port)
        same(list(client.wsdl.services["CmsService"].ports), ["CmsPort", "CmsPort12"])
        for name in ("CmsPort", "CmsPort12"):
            each_operation(client, name)
    with running(program, "--username", token[0], "--password", token[1]) as port:
        for name in ("CmsPort", "CmsPort12"):
            each_operation(client_of(port, *token), name)
        for stranger in [client_of(port), client_of(port, token[0], "guess"), client_of(port, "bob", token[1])]:
            fault(stranger, lambda: stranger.service.GetContract(OrderId="ZEEP"), "AUTH_FAILED", "NOT_APPLIED")


main(sys.argv[1])
print(f"zeep {zeep.__version__}: {checks} checks, all as the contract says")
