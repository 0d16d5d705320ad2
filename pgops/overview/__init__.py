"""Every environment at a glance; see :mod:`pgops.tasks.status`."""
