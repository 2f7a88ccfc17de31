//! RemoveShard: a link shard leaves the list, so that agents go elsewhere. It held nothing.

use paceline_types::ShardName;

use super::{Outcome, Work};
use crate::refusal::{Refusal, Subject};
use crate::reply::Reply;

impl Work<'_> {
    pub(super) fn remove_shard(&mut self, name: &ShardName) -> Outcome {
        let shard = self.cell.shard_by_name(name);
        let id = shard.map(|shard| shard.id).ok_or_else(|| Refusal::not_found(Subject::Shard, name))?;
        self.cell.shards.remove(&id);
        self.shards_changed();
        Ok(Reply::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::Bench;
    use crate::command::CommandBody;

    #[test]
    fn a_shard_leaves_once() {
        let mut bench = Bench::new();
        let name: ShardName = "s".parse().expect("a name");
        bench.one(CommandBody::RegisterShard { name: name.clone(), address: "a:1".into() });
        assert_eq!(bench.one(CommandBody::RemoveShard { name: name.clone() }), Reply::Done);
        assert_eq!(bench.cell.shard_list_version(), bench.cell.revision());
        let refusal = Refusal::not_found(Subject::Shard, &name);
        assert_eq!(bench.one(CommandBody::RemoveShard { name }), Reply::Refused(refusal));
    }
}
