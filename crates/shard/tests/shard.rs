//! A shard between scripted masters and agents, over real TLS on loopback.

mod shard {
    pub mod agent;
    pub mod cell;
    pub mod health;
    pub mod links;
    pub mod logs;
    pub mod master;
    pub mod masters;
}
