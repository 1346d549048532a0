//! The host: history in, a Decision Transformer out.
//!
//! The way of a number: [`history`] reads recorded markets through the edge's own engine into a store of steps;
//! [`quarantine`] cuts the last thirty days off and is the only door to a [`quarantine::Dataset`]; [`behaviour`]
//! replays policies over it and prices what each would have earned; [`corpus`] makes of both what a model learns
//! from; [`train`] teaches a [`model`]; [`onnx`] writes it as the graphs that the edge runs; [`gate`] examines
//! them with the very code that will trade them.

pub mod assess;
pub mod baseline;
pub mod batch;
pub mod behaviour;
pub mod config;
pub mod corpus;
pub mod gate;
pub mod history;
mod kernels;
pub mod market;
pub mod model;
pub mod onnx;
pub mod pipeline;
pub mod planted;
pub mod quarantine;
pub mod relabel;
pub mod report;
pub mod search;
pub mod series;
pub mod spec;
pub mod split;
pub mod statistics;
pub mod tasks;
pub mod train;
pub mod walk;
pub mod weights;
