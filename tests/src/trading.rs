//! The engine joined: orders, the paper venue, the risk gate and the account in one small market.
//!
//! `properties` drives it at random and checks what must hold after every record, whatever happens;
//! `scenarios` and `limits` tell what it does in cases that a reader can follow.

mod limits;
mod market;
mod oracle;
mod properties;
mod run;
mod scenarios;
