//! What is made of the actors: scenarios in which real processes and networks are hurt, and an oracle
//! that holds what is found at the end against what was promised. Each scenario is a function with
//! parameters, short ones for `cargo test -p tests --test chaos`, long ones for the `chaos` program.
//! What happens when is decided by a seed, which every failure names.

pub mod attack;
pub mod balance;
pub mod database;
pub mod hostile;
pub mod judge;
pub mod looks;
pub mod newcomer;
pub mod oracle;
pub mod outage;
pub mod putter;
pub mod real;
pub mod soak;
pub mod visible;
pub mod world;
pub mod written;

pub use world::World;

/// What a scenario found, in words, when all is well; else what is wrong.
pub type Verdict = Result<String, String>;
