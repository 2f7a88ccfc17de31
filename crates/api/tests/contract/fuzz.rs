//! Everything that comes from the wire against broken bytes.

use std::fmt::Debug;

use paceline_api::{decode_spec, encode_spec, v1};
use paceline_fuzz::Campaign;
use paceline_link::message::{AgentMessage, AgentOrder, MasterMessage, ShardMessage};
use prost::Message;

use crate::samples::fixed;

fn read<W: Message + Default, T: TryFrom<W>>(bytes: &[u8]) -> Option<T> {
    T::try_from(W::decode(bytes).ok()?).ok()
}

fn frames<W, T>(name: &'static str, sound: impl IntoIterator<Item = T>)
where
    W: Message + Default + From<T>,
    T: TryFrom<W> + Clone + PartialEq + Debug,
{
    let sound = sound.into_iter().map(|message| W::from(message).encode_to_vec()).collect();
    Campaign::new(name, sound)
        .run(read::<W, T>, |message| read::<W, T>(&W::from(message.clone()).encode_to_vec()));
}

#[test]
fn specifications() {
    let sound = vec![encode_spec(&fixed::spec()), encode_spec(&fixed::simulated_spec())];
    Campaign::new("specification", sound)
        .run(|bytes| decode_spec(bytes).ok(), |spec| decode_spec(&encode_spec(spec)).ok());
}

#[test]
fn what_agents_say() {
    frames::<v1::AgentFrame, AgentMessage>("agent frame", fixed::agent_messages());
}

#[test]
fn what_agents_are_told() {
    frames::<v1::OrderFrame, AgentOrder>("order frame", fixed::agent_orders());
}

#[test]
fn what_shards_say() {
    frames::<v1::ShardFrame, Vec<ShardMessage>>("shard frame", [fixed::shard_messages()]);
}

#[test]
fn what_shards_are_told() {
    frames::<v1::MasterFrame, Vec<MasterMessage>>("master frame", [fixed::master_messages()]);
}
