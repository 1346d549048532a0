//! Paper trading: what would have happened to an order at the venue, told with its delays.
//!
//! [`venue::Venue`] is the exchange side: it takes requests, lets them meet the book that the venue
//! had when they got there, matches what rests with the market's own trades, and sends reports back.
//! The other rooms are the effects that it is made of, each with a switch in [`venue::Rules`].

mod counter;
mod ladder;
mod recovery;
#[cfg(test)]
mod testing;
mod wide;

pub mod consumption;
pub mod depth;
pub mod fees;
pub mod funding;
pub mod impact;
pub mod latency;
pub mod matching;
pub mod queue;
pub mod synthetic;
pub mod tape;
pub mod toxicity;
pub mod venue;
