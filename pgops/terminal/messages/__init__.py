"""What pgops tells a person about plans, runs, backups and restores: values in, lines out."""
