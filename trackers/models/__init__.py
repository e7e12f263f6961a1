"""The networks that trackers run."""
