//! What a run leaves behind: the results directory of the contract, and what is printed.
//!
//! This is output code, the one place of the simulator that touches files. Nothing here feeds back into a run.

pub mod csv;
pub mod summary;
pub mod table;
pub mod words;

#[cfg(test)]
mod fixture;
