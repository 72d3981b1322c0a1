"""Files, locks, stages and run folders: how anything is written so that a kill loses nothing."""
