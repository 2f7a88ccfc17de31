//! Nodes that vanish: the hub over a real cell, under random silence, returns, lost shards, pauses and new leaders.

mod loss {
    pub mod histories;
    pub mod view;
    pub mod world;
}
