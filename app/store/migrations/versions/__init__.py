"""Read by Alembic, in the order of ``down_revision``. Each is as it was when it was released."""
