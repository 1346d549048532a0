//! Policies replayed over market history, and what each would have earned.
