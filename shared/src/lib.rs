#![no_std]
#![forbid(unsafe_code)]
//! Everything on which the two machines could disagree.
