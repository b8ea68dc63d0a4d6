//! The history: points (series, Unix second) → value, kept on disk.
//!
//! [`point`] is what it is made of; [`sealed`] the files that partitions end up in when nothing is
//! written to them any more.

pub mod point;
pub mod sealed;

pub use point::Point;
