//! Rolling correlation of all instruments, exact in its sums.
