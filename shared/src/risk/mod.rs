//! The gate between a decision and an order, and the halts that latch.
//!
//! [`gate::Gate`] is asked before every order and looks at the account at every pulse. What it may
//! allow stands in [`limits`]; why it refuses in [`denial`]; what restrains trading and lasts in
//! [`state`]; the other rooms are its parts.

mod exposure;
mod watch;

pub mod breakers;
pub mod correlation;
pub mod denial;
pub mod gate;
pub mod limits;
pub mod sizing;
pub mod state;
pub mod table;
