"""Files, locks, stages and run folders: safe writing and bounded reading, also if a process is killed."""
