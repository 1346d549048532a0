//! Recorded markets of any origin, through the edge's own engine, into a store of steps.
