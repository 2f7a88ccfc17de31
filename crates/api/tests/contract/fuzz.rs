//! Everything that comes from the wire against broken bytes.

use std::fmt::Debug;

use paceline_api::{Known, decode_spec, encode_spec, v1};
use paceline_fuzz::Campaign;
use paceline_link::message::{AgentMessage, AgentOrder, MasterMessage, ShardMessage};
use prost::Message;

use crate::samples::fixed;

/// What a frame says, of the kinds that this version knows; nothing where it is refused or all of another kind.
fn read<W: Message + Default, T>(bytes: &[u8], known: fn(W) -> Option<T>) -> Option<T> {
    known(W::decode(bytes).ok()?)
}

fn frames<W, T>(name: &'static str, sound: impl IntoIterator<Item = T>, known: fn(W) -> Option<T>)
where
    W: Message + Default + From<T>,
    T: Clone + PartialEq + Debug,
{
    let sound = sound.into_iter().map(|message| W::from(message).encode_to_vec()).collect();
    Campaign::new(name, sound)
        .run(|bytes| read(bytes, known), |message| read(&W::from(message.clone()).encode_to_vec(), known));
}

#[test]
fn specifications() {
    let sound = vec![encode_spec(&fixed::spec()), encode_spec(&fixed::simulated_spec())];
    Campaign::new("specification", sound)
        .run(|bytes| decode_spec(bytes).ok(), |spec| decode_spec(&encode_spec(spec)).ok());
}

#[test]
fn what_agents_say() {
    frames("agent frame", fixed::agent_messages(), |frame: v1::AgentFrame| {
        Option::<AgentMessage>::try_from(frame).ok().flatten()
    });
}

#[test]
fn what_agents_are_told() {
    frames("order frame", fixed::agent_orders(), |frame: v1::OrderFrame| {
        Option::<AgentOrder>::try_from(frame).ok().flatten()
    });
}

#[test]
fn what_shards_say() {
    frames("shard frame", [fixed::shard_messages()], |frame: v1::ShardFrame| {
        Known::<ShardMessage>::try_from(frame).ok().map(|known| known.messages)
    });
}

#[test]
fn what_shards_are_told() {
    frames("master frame", [fixed::master_messages()], |frame: v1::MasterFrame| {
        Known::<MasterMessage>::try_from(frame).ok().map(|known| known.messages)
    });
}
