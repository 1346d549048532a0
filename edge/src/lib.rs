//! The edge.

pub mod web;
