//! A fleet of simulated agents that speaks the real link to a real aggregator, and measures what
//! that costs; one real agent beside node_exporter; and clients of put/get that fill a history and
//! read it. `docs/benchmarks.md` says what each figure means.
//!
//! Reading order: [`shape`] and [`load`] (what is pushed), [`agent`] and [`fleet`] (who pushes),
//! [`http`] and [`page`] (who scrapes, and checks what it got), [`process`], [`aggregator`] and
//! [`proc`] (what is measured from outside), [`measure`] (one file per figure), [`host_agent`],
//! [`node_exporter`] and [`families`] (one agent and what it is compared with), [`points`],
//! [`lines`] and [`disk`] (what is put, who puts and gets it, and where it lies), [`run`] (the order
//! of it all), [`figures`] and [`report`] (what is printed and kept).
//!
//! Nothing here reads the code of aggregator and agent: they are processes, like any other.

pub mod agent;
pub mod aggregator;
pub mod args;
pub mod disk;
pub mod error;
pub mod families;
pub mod figures;
pub mod fleet;
pub mod host_agent;
pub mod http;
pub mod lines;
pub mod load;
pub mod machine;
pub mod measure;
pub mod node_exporter;
pub mod page;
pub mod points;
pub mod proc;
pub mod process;
pub mod progress;
pub mod pushgateway;
pub mod report;
pub mod run;
pub mod shape;
pub mod stats;

pub use error::{Error, Result};
