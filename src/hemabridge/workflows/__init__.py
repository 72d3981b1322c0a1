"""One public function per user verb; the only place where the parts are wired."""
