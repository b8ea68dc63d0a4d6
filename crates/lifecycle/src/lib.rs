//! What every process of FleetGauge does before and after its work.
//!
//! [`settings`] reads the environment (the only place that does), [`logging`] sets up the log,
//! [`stop`] turns stop signals into a future, [`exit`] names the exit codes, [`clock`] reads the wall
//! clock (the only place that does), [`host`] asks the system for its name, [`limits`] for more open
//! files, [`disk`] how much room is left, [`data_dir`] takes a folder for one process alone. What differs between systems is kept here as far as that goes.

pub mod clock;
pub mod data_dir;
pub mod disk;
pub mod exit;
pub mod host;
pub mod limits;
pub mod logging;
#[cfg(target_os = "linux")]
pub mod process;
pub mod settings;
pub mod stop;
mod table;

pub use settings::{Settings, SettingsError, duration};
pub use table::{Known, TABLE};
