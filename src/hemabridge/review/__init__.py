"""Blinded reading by experts: the items that they see, what they said of them, and what it means once unblinded."""
