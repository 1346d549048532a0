#![no_std]
#![forbid(unsafe_code)]
//! Everything on which the edge and the trainer could disagree, once.
//!
//! Values in, values out: no clock, no IO, no async, no hash maps, no floating-point money. `no_std`
//! is what makes the compiler enforce that. Read [`engine`] first: the whole product is a fold of
//! [`event::Event`]s over [`engine::Engine`]; the other rooms are its leaf functions.

extern crate alloc;

pub mod action;
pub mod arbitrage;
pub mod attribution;
pub mod book;
pub mod bundle;
pub mod engine;
pub mod event;
pub mod execution;
pub mod features;
pub mod funding_watch;
pub mod instrument;
pub mod ledger;
pub mod num;
pub mod order;
pub mod paper;
pub mod performance;
pub mod positions;
pub mod quality;
pub mod rand;
pub mod record;
pub mod risk;
pub mod schema;
pub mod synchroniser;
pub mod time;
pub mod trajectory;
pub mod window;
