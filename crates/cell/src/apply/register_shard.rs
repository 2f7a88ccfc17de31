//! RegisterShard: a link shard joins the list, or says that it listens elsewhere.

use std::sync::Arc;

use paceline_types::{ShardId, ShardName};

use super::{Outcome, Work};
use crate::cell::Shard;
use crate::event::Event;
use crate::refusal::{Bound, Counter, Refusal};
use crate::reply::Reply;

/// Longest address, in bytes: a DNS name of 253 and a port.
const ADDRESS_BYTES_MAX: usize = 260;
/// When a shard that met a full list should come again: silent ones leave it after minutes.
const RETRY_AFTER_MS: u64 = 60_000;

impl Work<'_> {
    pub(super) fn register_shard(&mut self, name: &ShardName, address: &str) -> Outcome {
        if address.is_empty() || address.len() > ADDRESS_BYTES_MAX {
            let value = format!("{} bytes", address.len());
            return Err(Refusal::argument("address", value, format!("1 to {ADDRESS_BYTES_MAX} bytes")));
        }
        let id = match self.cell.shard_by_name(name) {
            Some(shard) if *shard.address == *address => {
                return Ok(Reply::ShardRegistered { shard: shard.id });
            }
            Some(shard) => shard.id,
            None => self.new_shard()?,
        };
        let shard = Shard { id, name: name.clone(), address: address.into() };
        self.cell.shards.insert(id, Arc::new(shard));
        self.shards_changed();
        Ok(Reply::ShardRegistered { shard: id })
    }

    fn new_shard(&mut self) -> Result<ShardId, Refusal> {
        let limit = self.cell.config.shards_per_cell;
        if self.cell.shards.len() >= limit as usize {
            let limit = u64::from(limit);
            return Err(Refusal::Overloaded { bound: Bound::Shards, limit, retry_after_ms: RETRY_AFTER_MS });
        }
        let next = self.cell.last_shard.0.checked_add(1);
        self.cell.last_shard = ShardId(next.ok_or(Refusal::Exhausted { counter: Counter::ShardId })?);
        Ok(self.cell.last_shard)
    }

    pub(super) fn shards_changed(&mut self) {
        self.cell.shard_list_version = self.revision;
        self.events.push(Event::ShardsChanged { version: self.revision });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::Bench;
    use crate::command::CommandBody;

    fn register(bench: &mut Bench, name: &str, address: &str) -> Reply {
        let name = name.parse().expect("a name");
        bench.one(CommandBody::RegisterShard { name, address: address.into() })
    }

    #[test]
    fn the_version_of_the_list_is_the_revision_of_its_last_change() {
        let mut bench = Bench::new();
        assert_eq!(register(&mut bench, "s1", "a:1"), Reply::ShardRegistered { shard: ShardId(1) });
        let first = bench.cell.shard_list_version();
        assert_eq!(first, bench.cell.revision());
        register(&mut bench, "s1", "a:1");
        assert_eq!(bench.cell.shard_list_version(), first, "nothing changed");
        assert_eq!(register(&mut bench, "s1", "a:2"), Reply::ShardRegistered { shard: ShardId(1) });
        assert_eq!(bench.cell.shard_list_version(), bench.cell.revision());
        let addresses: Vec<_> = bench.cell.shards().map(|shard| shard.address.to_string()).collect();
        assert_eq!(addresses, ["a:2"]);
    }

    #[test]
    fn a_number_is_never_used_again() {
        let mut bench = Bench::new();
        register(&mut bench, "s1", "a:1");
        bench.one(CommandBody::RemoveShard { name: "s1".parse().expect("a name") });
        assert_eq!(register(&mut bench, "s1", "a:1"), Reply::ShardRegistered { shard: ShardId(2) });
    }

    #[test]
    fn an_empty_address_is_refused() {
        let mut bench = Bench::new();
        let reply = register(&mut bench, "s1", "");
        assert!(matches!(reply, Reply::Refused(Refusal::InvalidArgument(_))), "{reply:?}");
        assert_eq!(bench.cell.shards().count(), 0);
    }
}
