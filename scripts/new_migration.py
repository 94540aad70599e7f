"""`python -m scripts.new_migration "add a column"`: generate a migration from the models.

Compares the models with a database that has every existing migration. Read the result before you
commit it: Alembic does not detect renamed columns and does not move data.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from app.adapters import migrations
from app.adapters.database import open_migration_connection

MIGRATIONS = Path(migrations.MIGRATIONS_DIRECTORY)


def main(name: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    revision = f"{len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1:04d}"
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/models.db"
        migrations.upgrade(url)
        with open_migration_connection(url) as connection:
            config.attributes["connection"] = connection
            command.revision(config, message=name, autogenerate=True, rev_id=revision)


if __name__ == "__main__":
    main(sys.argv[1])
