//! Weights, batches and losses, written for a restatement of the trainer in PyTorch.
