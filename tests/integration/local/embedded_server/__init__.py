"""The embedded server of a project, with real servers: what it promises when everything goes wrong."""
