//! The two halves of the links against each other and against a small model of the cell.

mod links {
    pub mod agent;
    pub mod cell;
    pub mod convergence;
    pub mod hub;
    pub mod shard;
    pub mod world;
}
