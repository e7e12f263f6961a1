"""TCTrack and TCTrack++ as they were published: recipe, sampling, targets, losses."""
