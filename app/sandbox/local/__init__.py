"""The embedded sandbox: bubblewrap on this machine."""
