"""The Alembic migrations, installed as the package broker.migrations."""
