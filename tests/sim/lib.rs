//! Simulated venues: a seeded market and four servers that speak the wire protocols of Binance,
//! Coinbase Advanced, Kraken v2 and KuCoin.
//!
//! This is the reference model that the product is compared with, so it shares no book, checksum
//! or number code with it: books are plain `BTreeMap`s of integer ticks and lots.
//!
//! * [`world`] makes the market: pure, seeded, virtual time as an argument.
//! * [`venues`] are the servers: sans-IO state machines that hold the *true* book.
//! * [`faults`] stand between an honest server and the wire.
//! * [`exchange`] joins the three, for simulation tests and for the shell.
//! * [`capture`] writes what a recorder would write.
//! * [`shell`] serves them on loopback over TLS, in real time.

pub mod capture;
pub mod exchange;
pub mod faults;
pub mod shell;
pub mod venues;
pub mod world;

pub use exchange::{Exchange, ExchangeConfig};
pub use faults::{Fault, FaultKind, FaultSchedule, Injected};
pub use shell::{Sim, SimConfig};
pub use venues::{ConnId, HttpReply, ServerFrame, Truth, VenueServer};
pub use world::{EventKind, Instrument, Side, VenueKind, World, WorldConfig, WorldEvent};
