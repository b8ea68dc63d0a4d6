//! The aggregator: agents push to it, it merges what they push, Prometheus scrapes it.
//!
//! Data path, top to bottom: [`accept`] → [`link`] → `protocol` → [`fleet`] → [`page`] → [`http`].
//! Beside it programs put points and get them back: [`accept`] → [`lines`] → `protocol` → [`history`].
//! [`app`] puts the parts together; [`telemetry`] is what the aggregator says about itself.

pub mod accept;
pub mod access;
mod alive;
pub mod app;
pub mod data_dir;
pub mod fleet;
pub mod forward;
pub mod health;
pub mod history;
mod house;
pub mod http;
pub mod limits;
pub mod lines;
pub mod link;
pub mod page;
pub mod pending;
mod quota;
pub mod settings;
pub mod stop;
pub mod telemetry;

pub use app::{App, BindError, Ended};
pub use settings::Settings;
