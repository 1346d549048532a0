//! Walk-forward and combinatorial purged splits.
