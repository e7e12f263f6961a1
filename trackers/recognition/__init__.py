"""Action recognition: clips from videos, training, testing, and the running prediction of a live source."""
