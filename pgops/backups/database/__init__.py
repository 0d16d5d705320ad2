"""What is in a database: tables, sequences, settings, owners; and how far a dump has come. Only reads."""
