//! Which shard a node belongs to: rendezvous hashing over the cell's shard list.
//!
//! The weight of (node, shard) is FNV-1a 64 over the node's name, one zero byte and the shard's name, finished
//! with the mixer of splitmix64 (FNV-1a alone spreads its last bytes badly: Steele, Lea and Flood, "Fast
//! splittable pseudorandom number generators", 2014). The shard of the highest weight is the node's home, so a
//! shard that leaves moves only its own nodes. Masters and agents must agree: the golden test pins the function.

use paceline_types::{NodeName, ShardName};

use crate::message::{ShardAddress, ShardList};

/// Over how long nodes spread a move to a shard that returned: 5 % of them a second.
pub const MOVE_SPREAD_MS: u64 = 20_000;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The weight of a shard for a node.
#[must_use]
pub fn weight(node: &NodeName, shard: &ShardName) -> u64 {
    let parts = [node.as_str().as_bytes(), &[0], shard.as_str().as_bytes()];
    mix(parts.into_iter().flatten().fold(FNV_OFFSET, fnv))
}

/// The shard that a node belongs to; nothing when the cell has none.
#[must_use]
pub fn home<'a>(node: &NodeName, shards: &'a ShardList) -> Option<&'a ShardAddress> {
    shards.shards.iter().max_by_key(|shard| rank(node, shard))
}

/// All shards in the order in which a node should try them: its home first.
#[must_use]
pub fn ranked<'a>(node: &NodeName, shards: &'a ShardList) -> Vec<&'a ShardAddress> {
    let mut ranked: Vec<_> = shards.shards.iter().collect();
    ranked.sort_by_key(|shard| std::cmp::Reverse(rank(node, shard)));
    ranked
}

/// How long a node that is well served elsewhere waits before it moves to its home under this list:
/// even over [`MOVE_SPREAD_MS`], another order for every version.
#[must_use]
pub fn move_delay_ms(node: &NodeName, shards: &ShardList) -> u64 {
    let version = shards.version.0.to_le_bytes();
    let parts = [node.as_str().as_bytes(), &[0], &version];
    mix(parts.into_iter().flatten().fold(FNV_OFFSET, fnv)) % MOVE_SPREAD_MS
}

/// The name decides between equal weights, so that the order of the list never matters.
fn rank<'a>(node: &NodeName, shard: &'a ShardAddress) -> (u64, &'a ShardName) {
    (weight(node, &shard.name), &shard.name)
}

fn fnv(hash: u64, byte: &u8) -> u64 {
    (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::{Revision, ShardId};

    fn list(names: &[&str]) -> ShardList {
        let shard = |(id, name): (u32, &&str)| ShardAddress {
            id: ShardId(id),
            name: name.parse().expect("a name"),
            address: format!("{name}:1"),
        };
        ShardList { version: Revision(7), shards: (0..).zip(names).map(shard).collect() }
    }

    fn node(number: u32) -> NodeName {
        format!("n-{number}").parse().expect("a name")
    }

    #[test]
    fn the_function_is_pinned_by_golden_weights() {
        let golden = [
            ("n-0", "a", 674_045_294_325_858_772),
            ("n-1", "a", 13_071_031_483_617_081_555),
            ("rack-1.node_7", "shard-2", 12_916_173_796_975_091_477),
        ];
        let weights: Vec<u64> = golden
            .iter()
            .map(|(node, shard, _)| weight(&node.parse().expect("a name"), &shard.parse().expect("a name")))
            .collect();
        assert_eq!(weights, golden.map(|(_, _, weight)| weight));
    }

    #[test]
    fn the_order_of_the_list_does_not_matter_and_the_home_is_ranked_first() {
        let (there, back) = (list(&["a", "b", "c"]), list(&["c", "b", "a"]));
        for number in 0..100 {
            let homes = [&there, &back].map(|shards| home(&node(number), shards).map(|s| s.name.clone()));
            assert_eq!(homes[0], homes[1]);
            assert_eq!(homes[0].as_ref(), ranked(&node(number), &there).first().map(|s| &s.name));
        }
        assert_eq!(home(&node(1), &list(&[])), None);
    }

    #[test]
    fn a_shard_that_leaves_moves_only_its_own_nodes_and_load_is_even() {
        let (all, rest) = (list(&["a", "b", "c", "d"]), list(&["a", "b", "c"]));
        let mut of_d = 0;
        for number in 0..4_000 {
            let before = home(&node(number), &all).expect("a home").name.clone();
            if before.as_str() == "d" {
                of_d += 1;
            } else {
                assert_eq!(before, home(&node(number), &rest).expect("a home").name);
            }
        }
        assert!((900..1_100).contains(&of_d), "{of_d} of 4000 on one shard of four");
    }

    #[test]
    fn moves_spread_over_twenty_seconds() {
        let shards = list(&["a", "b"]);
        let first_second = (0..10_000).filter(|n| move_delay_ms(&node(*n), &shards) < 1_000).count();
        assert!((400..600).contains(&first_second), "{first_second} of 10000 in the first second");
    }
}
