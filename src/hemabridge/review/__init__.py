"""Blinded reading by experts: sample, web pages of the readers, store, and analysis after unblinding."""
