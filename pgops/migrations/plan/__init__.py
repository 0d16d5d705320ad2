"""What would run, from where to where, its SQL and its hash. Nothing is changed."""
