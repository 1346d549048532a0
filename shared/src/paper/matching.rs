//! How an order and the book or a trade match.
