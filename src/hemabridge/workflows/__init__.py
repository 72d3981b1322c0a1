"""The work of each command: one public function per command, which combines the parts of the other rooms."""
