"""What to type, for the end of each task's help and for docs/tasks.md: the command and what it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

EXAMPLES: Mapping[str, Sequence[tuple[str, str]]] = {
    "db.up": [
        ("db.up", "start it and wait"),
        ("db.up migrate", "start it, then bring it to the newest revision"),
    ],
    "db.down": [
        ("db.down", "stop it, keep its data"),
        ("db.down --volumes", "delete its data too; asks first"),
    ],
    "db.status": [("db.status", "does it run, and where"), ("db.status --json", "the same for a script")],
    "db.logs": [("db.logs --tail=20", "the last 20 lines"), ("db.logs -f", "go on as the log grows")],
    "db.psql": [
        ("db.psql --env=prod", "a shell; it only reads where the environment is protected"),
        ('db.psql -c "select count(*) from knowledge"', "one statement, then end"),
    ],
    "db.reset": [
        ("db.reset --dry-run", "what would be lost"),
        ("db.reset", "drop, create, migrate; asks first"),
    ],
    "db.url": [
        ("db.url", "the URL without its password"),
        ("db.url --show-password", "with it, for a program that needs it"),
    ],
    "env.list": [("env.list", "names, aliases, servers")],
    "env.show": [("env.show --env=prod", "its settings, and the line each comes from")],
    "env.check": [("env.check", "all of them"), ("env.check --env=prod", "one")],
    "migrate.upgrade": [
        ("migrate", "the default environment"),
        ("migrate --env=prod", "shows the plan, then wants the name typed"),
        ("migrate --env=prod --plan=plan.json", "what people signed, and nothing else"),
        ("migrate --to=9b60d2e4f118 --lock-wait=2min", "one revision only, and patiently"),
    ],
    "migrate.plan": [
        ("migrate.plan --env=prod", "what would run there; only reads"),
        ("migrate.plan --sql > plan.sql", "its SQL, whole"),
        ("migrate.plan --env=prod --out=plan.json", "as a file, to be signed"),
        ("migrate.plan --exit-code", "ends with 4 where something is pending"),
        ("migrate.plan --env=prod --markdown=plan.md", "for a comment on the pull request"),
    ],
    "migrate.lint": [
        ("migrate.lint --since=origin/main", "what this branch adds; ends with 7 where it may hurt"),
        ("migrate.lint --since=origin/main --sizes-of=prod", "with the sizes of production's tables"),
        ("migrate.lint --since=HEAD~1 --sarif=lint.sarif", "for code scanning"),
    ],
    "migrate.approve": [
        ("migrate.approve plan.json", "shows it, asks, signs with your SSH key"),
        ("migrate.approve plan.json --key=~/.ssh/id_ed25519_sk", "with this key"),
    ],
    "migrate.rehearse": [
        ("migrate.rehearse --env=prod", "on its newest proven backup; the target is only read"),
        ("migrate.rehearse --env=prod --backup=fresh --html=rehearsal.html", "on one taken now, as a page"),
    ],
    "migrate.down": [
        ("migrate.down --dry-run", "what would be lost"),
        ("migrate.down", "the last revision; asks first"),
        ("migrate.down --to=base", "all of them"),
    ],
    "migrate.undo": [
        ("migrate.undo --env=prod --dry-run", "both ways back, and what each loses"),
        ("migrate.undo --env=prod", "the last run, by its downgrades; asks first"),
        ("migrate.undo --env=prod --by=backup", "by the backup that was taken for it"),
    ],
    "migrate.revision": [
        ('migrate.revision -m "knowledge: add rating"', "from the models, to be reviewed"),
        ('migrate.revision -m "backfill slugs" --empty', "to be written by hand"),
    ],
    "migrate.status": [("migrate.status", "all environments"), ("migrate.status --env=prod", "one")],
    "migrate.history": [("migrate.history", "newest first")],
    "migrate.check": [("migrate.check", "ends with 5 where models and database differ")],
    "migrate.test": [
        ("migrate.test", "every revision"),
        ("migrate.test --since=9b60d2e4f118", "only what was added since"),
    ],
    "migrate.log": [("migrate.log --env=prod --limit=5", "the last five runs")],
    "migrate.stamp": [
        ("migrate.stamp --to=9b60d2e4f118", "adopt a database that was made otherwise; asks first")
    ],
    "backup.create": [
        ("backup", "the default environment"),
        ("backup --env=prod --dry-run", "what would be dumped, with which tools"),
        ("backup --env=prod --type=full", "where pgBackRest takes the backups"),
    ],
    "backup.list": [("backup.list --env=prod", "oldest first")],
    "backup.show": [
        ("backup.show", "the newest one"),
        ("backup.show --backup=20261124T0300", "one, by its beginning"),
    ],
    "backup.verify": [
        ("backup.verify", "read the newest one to its end"),
        ("backup.verify --restore", "restore it into a scratch database and compare"),
    ],
    "backup.prune": [
        ("backup.prune --dry-run", "what would go, and why"),
        ("backup.prune", "asks, then removes"),
    ],
    "backup.pin": [
        ('backup.pin --reason="before the release"', "keep the newest one for good"),
        ("backup.pin --remove", "let retention decide again"),
    ],
    "backup.check": [
        ("backup.check", "ends with 9 where a backup or a proof is older than its limit"),
        ("backup.check --env=prod --json", "one, for a script"),
        ("backup.check --notify", "for a schedule: tells monitoring.notify"),
    ],
    "backup.drill": [
        ("backup.drill", "the newest backup of every environment"),
        ("backup.drill --env=prod --on=staging", "one, on another environment's server"),
    ],
    "backup.schedule": [
        ("backup.schedule --env=prod", "print units or cron lines for this machine"),
        ("backup.schedule --env=prod --at=02:30 --every=6h --install", "put them in place; asks first"),
        ("backup.schedule --env=prod --kind=kubernetes", "CronJobs, for kubectl apply -f -"),
        ("backup.schedule --env=prod --remove", "take away what --install put in place"),
    ],
    "backup.unattended": [
        ("backup.unattended --env=prod", "one run, as a timer starts it"),
        ("backup.unattended --env=prod --at=03:00", "only where none was taken since 03:00 UTC"),
    ],
    "restore.run": [
        ("restore --dry-run", "what would be restored, and into what"),
        ("restore", "the newest backup; asks first"),
        ("restore --from=prod --env=dev", "production's newest backup into dev"),
        ("restore --table=knowledge", "one table, into a schema beside"),
        (
            "restore --env=prod --at='2026-11-26 03:00:00+00'",
            "the cluster as it was then, beside (pgBackRest)",
        ),
    ],
    "restore.undo": [
        ("restore.undo --dry-run", "what would be put back"),
        ("restore.undo", "asks, then swaps back"),
    ],
    "restore.hand-over": [
        (
            "restore.hand-over --env=prod --dry-run",
            "which cluster would be replaced, and what of it would be missing",
        ),
        ("restore.hand-over --env=prod", "the recovered cluster in its place; asks first"),
        ("restore.hand-over --env=prod --back", "the old cluster in its place again"),
    ],
    "restore.status": [("restore.status", "old or restored, and what is kept beside")],
    "restore.discard": [
        (
            "restore.discard --database=app__old_20261124",
            "free the disk of a database a restore kept; asks first",
        )
    ],
    "report": [
        ("report --html=environments.html", "all of them on one page"),
        ("report --html=prod.html --env=prod", "one"),
    ],
    "metrics": [
        ("metrics --to=/var/lib/prometheus/node-exporter", "a file for each environment"),
        ("metrics --env=prod", "one, to its monitoring.metrics"),
    ],
    "status": [
        ("status", "everything in one table"),
        ("status --env=prod --json", "one, for a script"),
        ("status --exit-code", "ends with 9 where backups are too old"),
    ],
    "completion": [
        ("completion --install", "for your shell"),
        ("completion --shell=zsh", "print the script"),
    ],
}
