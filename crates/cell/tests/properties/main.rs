//! Properties of the whole cell over random histories.
//!
//! `world` makes histories that mean something; `model` holds the cell to a naive one; `replay`, `restore` and
//! `hostile` hold what promise.

mod hostile;
mod model;
mod replay;
mod restore;
mod world;
