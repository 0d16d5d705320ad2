"""Reading revisions for hazards without a database: what changed, its SQL, and how large its tables are said to be."""
