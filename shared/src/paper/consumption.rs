//! What we took from the book and the book does not show, so that nothing is taken twice.
