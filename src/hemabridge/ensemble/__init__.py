"""From a classifier of the target site to one of the source site, without its labels."""
