"""Configuration files (YAML) that ship with the package."""
