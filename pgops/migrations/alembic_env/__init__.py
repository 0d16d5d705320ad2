"""Running somebody's env.py: its configuration, its surroundings, the guard on every connection that it opens."""
