//! A fleet of simulated agents that speaks the real link to a real aggregator, and measures what
//! that costs. `docs/benchmarks.md` says what each figure means.
//!
//! Reading order: [`shape`] and [`load`] (what is pushed), [`agent`] and [`fleet`] (who pushes),
//! [`http`] and [`page`] (who scrapes, and checks what it got), [`process`], [`aggregator`] and
//! [`proc`] (what is measured from outside), [`measure`] (one file per figure), [`run`] (the order of it all),
//! [`report`] (what is printed and kept).
//!
//! Nothing here reads the aggregator's code: it is a process behind two ports, like any other.

pub mod agent;
pub mod aggregator;
pub mod args;
pub mod error;
pub mod fleet;
pub mod http;
pub mod load;
pub mod machine;
pub mod measure;
pub mod page;
pub mod proc;
pub mod process;
pub mod progress;
pub mod pushgateway;
pub mod report;
pub mod run;
pub mod shape;
pub mod stats;

pub use error::{Error, Result};
