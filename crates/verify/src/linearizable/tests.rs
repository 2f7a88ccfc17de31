//! The checker held against every order tried one by one, against histories of a reference that are right, against
//! the same with one provable fault, and against a size that runs really have.

mod brute;
mod canary;
mod generate;
