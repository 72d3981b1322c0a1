"""Loss functions of translators and classifiers."""
