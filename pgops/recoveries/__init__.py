"""Clusters recovered beside their own by pgBackRest: where each is made, kept, found again and removed."""
