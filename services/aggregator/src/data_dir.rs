//! The folder of what must survive a restart.

pub use lifecycle::data_dir::{DataDir, Refused};
