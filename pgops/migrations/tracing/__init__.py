"""What PostgreSQL itself does with a plan: carried out on a copy of the target's schema, without a row of it.

The way in is :func:`pgops.migrations.tracing.trace.with_trace`. The target is only read; what is observed is a
value (:class:`pgops.migrations.hazards.observed.Trace`), and judging it is for ``hazards``.
"""
