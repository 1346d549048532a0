//! The Decision Transformer in burn.
