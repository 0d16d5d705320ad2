"""Which backups are kept, with the reason for each; and removing the others."""
