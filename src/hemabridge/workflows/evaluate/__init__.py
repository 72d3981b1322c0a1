"""`hemabridge evaluate`: classifies new cells by the classifiers, re-stainings and ensemble of a finished study."""
