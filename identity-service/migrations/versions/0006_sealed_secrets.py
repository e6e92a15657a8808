"""Encrypts the secrets that are shared with authenticator apps."""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

from identity_service.crypto import tokens

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    replace(tokens.seal_secret)
    op.alter_column("second_factors", "secret", new_column_name="sealed_secret")


def downgrade() -> None:
    op.alter_column("second_factors", "sealed_secret", new_column_name="secret")
    replace(tokens.unseal_secret)


def replace(change: Callable[[str], str | None]) -> None:
    found = op.get_bind().execute(sa.text("SELECT user_id, secret FROM second_factors")).all()
    for user_id, secret in found:
        changed = sa.text("UPDATE second_factors SET secret = :secret WHERE user_id = :user_id")
        op.get_bind().execute(changed, {"secret": change(secret), "user_id": user_id})
