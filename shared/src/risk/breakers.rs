//! Flash-crash windows, volatility and range of one instrument.
