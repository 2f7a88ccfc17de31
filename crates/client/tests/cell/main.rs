//! The client against masters in this process, over the real TLS of `identity`: what a caller sees when masters
//! redirect, hang, die, drop replies or refuse.

mod fake;

mod calls;
mod identities;
mod streams;
