"""How fast trackers run on this machine: stages, batches, frame sizes and peers, in one run."""
