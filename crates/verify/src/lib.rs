//! Judges what a cell did: recorded histories, and one checker per promise.
//!
//! Pure: observations in, violations out. Each checker is a plain struct that is fed as things happen, so that a
//! simulation can look after every tick, or with a whole history; only the search for an order wants a whole one.
//! Instants are numbers of one clock that never goes back, in any unit.
//!
//! | checker | what must hold |
//! |---|---|
//! | [`linearizable`] | the answers about each job name have an order |
//! | [`reads`] | a read shows what was so at its revision, and no older one than it may |
//! | [`acknowledged`] | no acknowledged submission is lost, no request is done twice (A-10) |
//! | [`watch`] | watches are ordered, complete, resumable, and give up only when due |
//! | [`attempts`] | at most one where promised, no stale or wanted attempt treated as the other (A-7, A-8) |
//! | [`replicas`] | equal states at equal revisions, nothing forgotten, one leader a term (A-1) |
//! | [`evictions`] | no write-off too early or beyond the brake (A-9) |
//! | [`liveness`] | after healing everything due ends, and every call has an outcome |
//!
//! It does not run anything and names nothing but `types`: whoever feeds it converts what it saw. Each checker has
//! canaries beside it, histories that it must reject.

pub mod history;

pub mod acknowledged;
pub mod linearizable;
pub mod reads;
pub mod watch;

pub mod attempts;
pub mod evictions;
pub mod liveness;
pub mod replicas;

mod violation;

pub use violation::Violation;
