"""Every environment in one table. Reads only; what fails is part of the row."""
