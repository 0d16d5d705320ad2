"""Approval by signature: a plan as a file, SSH signatures over it, and the gate that wants them."""
