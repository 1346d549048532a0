//! How sure one can be of a backtest.
