//! Every value that can be said is said and read back the same, through real bytes.

use paceline_api::{Known, decode_spec, encode_spec, v1};
use paceline_link::message::{AgentMessage, AgentOrder, MasterMessage, ShardMessage};
use proptest::prelude::*;

use crate::samples;
use prost::Message;

/// Through the wire type and its bytes, and back as it is read.
fn through<W, R, T>(value: T) -> Result<R, TestCaseError>
where
    W: Message + Default + From<T>,
    R: TryFrom<W>,
    R::Error: std::fmt::Debug,
{
    let bytes = W::from(value).encode_to_vec();
    let wire = W::decode(bytes.as_slice()).map_err(|error| TestCaseError::fail(error.to_string()))?;
    R::try_from(wire).map_err(|fault| TestCaseError::fail(format!("{fault:?}")))
}

proptest! {
    #[test]
    fn specifications(spec in samples::spec()) {
        prop_assert_eq!(decode_spec(&encode_spec(&spec)).expect("reads back"), spec);
    }

    #[test]
    fn what_agents_say(message in samples::agent_message()) {
        prop_assert_eq!(through::<v1::AgentFrame, Option<AgentMessage>, _>(message.clone())?, Some(message));
    }

    #[test]
    fn what_agents_are_told(order in samples::agent_order()) {
        prop_assert_eq!(through::<v1::OrderFrame, Option<AgentOrder>, _>(order.clone())?, Some(order));
    }

    #[test]
    fn what_shards_say(batch in proptest::collection::vec(samples::shard_message(), 0..4)) {
        prop_assert_eq!(through::<v1::ShardFrame, Known<ShardMessage>, _>(batch.clone())?, Known { messages: batch, unknown: 0 });
    }

    #[test]
    fn what_shards_are_told(batch in proptest::collection::vec(samples::master_message(), 0..4)) {
        prop_assert_eq!(through::<v1::MasterFrame, Known<MasterMessage>, _>(batch.clone())?, Known { messages: batch, unknown: 0 });
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_spec(&bytes);
        let _ = v1::ShardFrame::decode(bytes.as_slice()).map(Known::<ShardMessage>::try_from);
        let _ = v1::OrderFrame::decode(bytes.as_slice()).map(Option::<AgentOrder>::try_from);
    }
}
