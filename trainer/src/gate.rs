//! The examination that a candidate must pass.
