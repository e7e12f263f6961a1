"""A live page and an interface for other programs over the tracker: ``onlinetada serve``."""
