//! What every process of FleetGauge does before and after its work.
//!
//! [`settings`] reads the environment (the only place that does), [`logging`] sets up the log,
//! [`stop`] turns SIGTERM and SIGINT into a future, [`exit`] names the exit codes, [`clock`] reads
//! the wall clock (the only place that does), [`limits`] asks the system for more open files.

pub mod clock;
pub mod exit;
pub mod limits;
pub mod logging;
pub mod settings;
pub mod stop;
mod table;

pub use settings::{Settings, SettingsError, duration};
pub use table::{Known, TABLE};
