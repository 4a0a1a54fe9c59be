//! What an error of librdkafka says about a record.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::relay::core::Fate;

/// The fate of a record that was not acknowledged.
pub(super) fn fate(error: &KafkaError, certain: bool) -> Fate {
    let Some(code) = error.rdkafka_error_code() else {
        return Fate::Unknown;
    };
    let reason = code.to_string();
    if is_of_the_record(code) {
        Fate::Refused { reason, certain }
    } else if is_of_the_topic(code) {
        Fate::TopicAway { reason }
    } else {
        Fate::Unknown
    }
}

/// It would be refused again, wherever it is sent in whatever company.
fn is_of_the_record(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::PolicyViolation
    )
}

/// The topic is not there, or not for us.
pub(super) fn is_of_the_topic(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::InvalidTopic
    )
}
