//! Every message goes both ways, and the examples of the contract are read.

use super::*;
use crate::cms::Money;
use std::num::NonZeroU32;
use swifttrack_adapters::soap::{Decode, FaultCode, Reply};

fn verify() -> VerifyContractRequest {
    VerifyContractRequest {
        order_id: "ORD-1".into(),
        client_id: "CLIENT-001".into(),
        priority: Priority::Urgent,
        packages: vec![
            Package {
                sku: "ITEM-001".into(),
                description: Some("Tea & <biscuits>".into()),
                quantity: NonZeroU32::new(2).unwrap(),
                priority: Some(Priority::High),
            },
            Package {
                sku: "ITEM-002".into(),
                description: None,
                quantity: NonZeroU32::MIN,
                priority: None,
            },
        ],
        delivery_addresses: vec!["1 Galle Road".into(), "2 Galle Road".into()],
    }
}

fn response() -> VerifyContractResponse {
    VerifyContractResponse {
        contract_id: "CTR-1".into(),
        estimated_cost: Money::units(1300),
        currency: "LKR".into(),
        remaining_credit: Money::hundredths(-5),
        valid_until: chrono::NaiveDate::from_ymd_opt(2099, 12, 31).unwrap(),
        replayed: true,
    }
}

#[test]
fn every_request_is_read_as_written() {
    let requests = [
        Request::Verify(verify()),
        Request::Cancel(CancelContractRequest {
            order_id: "ORD-1".into(),
            contract_id: None,
            reason: "saga".into(),
        }),
        Request::Cancel(CancelContractRequest {
            order_id: "ORD-1".into(),
            contract_id: Some("CTR-1".into()),
            reason: String::new(),
        }),
        Request::Get(GetContractRequest {
            order_id: "ORD-1".into(),
        }),
    ];
    let headers = RequestHeaders {
        security: None,
        context: Some(RequestContext {
            request_id: "r".into(),
            idempotency_key: "ORD-1:CMS_VERIFICATION".into(),
            trace_parent: None,
        }),
    };
    for version in [Version::V11, Version::V12] {
        for request in &requests {
            for headers in [&headers, &RequestHeaders::default()] {
                let bytes = write_request(version, headers, request).unwrap();
                let message = read_request(&bytes, version, &Limits::new()).unwrap();
                assert_eq!((&message.headers, &message.body), (headers, request));
            }
        }
    }
}

#[track_caller]
fn goes_both_ways<R: Decode + PartialEq + std::fmt::Debug>(response: &Response, expected: R) {
    for version in [Version::V11, Version::V12] {
        let bytes = write_response(version, response).unwrap();
        let message = soap::parse::<(), Reply<R, CmsFault>>(&bytes, version, &Limits::new());
        match message.unwrap().body {
            Reply::Answer(read) => assert_eq!(read, expected),
            Reply::Fault(fault) => panic!("{fault:?}"),
        }
    }
}

#[test]
fn every_response_is_read_as_written() {
    goes_both_ways(&Response::Verify(response()), response());
    for state in [
        CancelState::Cancelled,
        CancelState::AlreadyCancelled,
        CancelState::Tombstoned,
    ] {
        let cancel = CancelContractResponse { state };
        goes_both_ways(&Response::Cancel(cancel), cancel);
    }
    for (state, contract_id) in [
        (ContractState::None, None),
        (ContractState::Verified, Some("CTR-1".to_owned())),
        (ContractState::Cancelled, None),
    ] {
        let get = GetContractResponse { state, contract_id };
        goes_both_ways(&Response::Get(get.clone()), get);
    }
}

#[test]
fn every_fault_is_read_as_written() {
    use Code::*;
    let codes = [
        InvalidClientId,
        ClientSuspended,
        ContractExpired,
        CreditLimitExceeded,
        Cancelled,
        KeyReused,
        Malformed,
        AuthFailed,
        Busy,
        Internal,
    ];
    for code in codes {
        for version in [Version::V11, Version::V12] {
            let written = CmsFault::new(code, "because").retry_after_seconds(3);
            let (status, bytes) = write_fault(version, &written).unwrap();
            let message = soap::parse::<(), Reply<VerifyContractResponse, CmsFault>>(
                &bytes,
                version,
                &Limits::new(),
            );
            let Reply::Fault(fault) = message.unwrap().body else {
                panic!("{code} is no fault");
            };
            assert_eq!(fault.detail, Some(written));
            let blamed_on_caller = !matches!(code, Busy | Internal);
            assert_eq!(fault.code == FaultCode::Client, blamed_on_caller, "{code}");
            let bad_request = blamed_on_caller && version == Version::V12;
            assert_eq!(status, if bad_request { 400 } else { 500 }, "{code}");
        }
    }
}

#[test]
fn the_example_of_the_contract_is_read() {
    let document = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:c="http://swiftlogistics.lk/cms/v1">
 <s:Header>
  <c:RequestContext><c:RequestId>uuid</c:RequestId><c:IdempotencyKey>ORD-1:CMS_VERIFICATION</c:IdempotencyKey><c:TraceParent>00-x</c:TraceParent></c:RequestContext>
 </s:Header>
 <s:Body><c:VerifyContractRequest>
  <c:OrderId>ORD-1</c:OrderId><c:ClientId>CLIENT-001</c:ClientId><c:Priority>STANDARD</c:Priority>
  <c:PackageList><c:Package><c:SKU/><c:Description/><c:Quantity>2</c:Quantity><c:Priority>HIGH</c:Priority></c:Package></c:PackageList>
  <c:DeliveryAddresses><c:Address>Galle</c:Address></c:DeliveryAddresses>
 </c:VerifyContractRequest></s:Body></s:Envelope>"#;
    let message = read_request(document.as_bytes(), Version::V11, &Limits::new()).unwrap();
    let context = message.headers.context.unwrap();
    assert_eq!(context.trace_parent.as_deref(), Some("00-x"));
    let Request::Verify(request) = message.body else {
        panic!("not a verify");
    };
    assert_eq!(request.packages[0].sku, "");
    assert_eq!(request.packages[0].description.as_deref(), Some(""));
    for quantity in ["0", "-1", "1.5", "", "4294967296"] {
        let document = document.replace(">2<", &format!(">{quantity}<"));
        assert!(read_request(document.as_bytes(), Version::V11, &Limits::new()).is_err());
    }
}

#[test]
fn what_soap_has_a_code_for_is_told_by_that_code_alone() {
    let wrong_version = write_request(
        Version::V12,
        &RequestHeaders::default(),
        &GetContractRequest {
            order_id: "ORD-1".into(),
        },
    )
    .unwrap();
    let code_of = |request: &[u8]| {
        let invalid = read_request(request, Version::V11, &Limits::new()).unwrap_err();
        let (status, bytes) = write_invalid(Version::V11, &invalid).unwrap();
        assert_eq!(status, 500);
        let message = soap::parse::<(), Reply<GetContractResponse, CmsFault>>(
            &bytes,
            Version::V11,
            &Limits::new(),
        );
        let Reply::Fault(fault) = message.unwrap().body else {
            panic!("no fault");
        };
        (fault.code, fault.detail.map(|detail| detail.code))
    };
    assert_eq!(code_of(&wrong_version), (FaultCode::VersionMismatch, None));
    assert_eq!(
        code_of(b"<x>"),
        (FaultCode::Client, Some("MALFORMED".into()))
    );
}

#[test]
fn the_wsdl_names_the_host_that_was_asked_and_no_other_text() {
    let wsdl = crate::cms::wsdl::wsdl("cms.example:5001");
    assert!(wsdl.contains("\"http://cms.example:5001/cms\""));
    assert!(wsdl.contains("\"http://cms.example:5001/cms12\""));
    assert!(wsdl.find("\"CmsPort\"") < wsdl.find("\"CmsPort12\""));
    let hostile = crate::cms::wsdl::wsdl("x\"/><evil a=\"");
    assert!(!hostile.contains("evil"));
}
