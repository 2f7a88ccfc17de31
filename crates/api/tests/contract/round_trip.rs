//! Every value that can be said is said and read back the same, through real bytes.

use paceline_api::{decode_spec, encode_spec, v1};
use paceline_link::message::{AgentMessage, AgentOrder, MasterMessage, ShardMessage};
use proptest::prelude::*;

use crate::samples;
use prost::Message;

/// Through the wire type and its bytes, and back.
fn through<T, W>(value: T) -> Result<T, TestCaseError>
where
    W: Message + Default + From<T>,
    T: TryFrom<W>,
    T::Error: std::fmt::Debug,
{
    let bytes = W::from(value).encode_to_vec();
    let wire = W::decode(bytes.as_slice()).map_err(|error| TestCaseError::fail(error.to_string()))?;
    T::try_from(wire).map_err(|fault| TestCaseError::fail(format!("{fault:?}")))
}

proptest! {
    #[test]
    fn specifications(spec in samples::spec()) {
        prop_assert_eq!(decode_spec(&encode_spec(&spec)).expect("reads back"), spec);
    }

    #[test]
    fn what_agents_say(message in samples::agent_message()) {
        prop_assert_eq!(through::<AgentMessage, v1::AgentFrame>(message.clone())?, message);
    }

    #[test]
    fn what_agents_are_told(order in samples::agent_order()) {
        prop_assert_eq!(through::<AgentOrder, v1::OrderFrame>(order.clone())?, order);
    }

    #[test]
    fn what_shards_say(batch in proptest::collection::vec(samples::shard_message(), 0..4)) {
        prop_assert_eq!(through::<Vec<ShardMessage>, v1::ShardFrame>(batch.clone())?, batch);
    }

    #[test]
    fn what_shards_are_told(batch in proptest::collection::vec(samples::master_message(), 0..4)) {
        prop_assert_eq!(through::<Vec<MasterMessage>, v1::MasterFrame>(batch.clone())?, batch);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_spec(&bytes);
        let _ = v1::ShardFrame::decode(bytes.as_slice()).map(Vec::<ShardMessage>::try_from);
        let _ = v1::OrderFrame::decode(bytes.as_slice()).map(AgentOrder::try_from);
    }
}
