//! Recordings of other vendors: their formats, what is in them, and how they play.
//!
//! A [`source::Source`] reads one file and says what is in it, in the file's own numbers. [`contents::read`] reads a file
//! once and finds instruments, scales, times and defects. [`Player`] plays several files, merged by their times, as an
//! [`Adapter`](tickwire_feed::adapter::Adapter) of the ingester.

mod adapted;
pub mod bus;
mod capture;
pub mod contents;
mod cryptofeed;
mod day;
mod dbn;
mod dbn_frames;
mod deep;
mod format;
mod framing;
mod iex;
mod iextp;
mod itch;
mod itch_file;
mod lobster;
mod map;
mod mapped;
mod mold;
pub mod orders;
mod packed;
mod player;
pub mod said;
mod scaled;
pub mod source;
pub mod stream;
mod table;
mod tardis;
mod top;

pub use day::Day;
pub use format::{Format, Hints, Recording, RecordingError};
pub use map::Map;
pub use player::{Played, Player, PlayerConfig, PlayerError, PlayerProgress, receive_time};
