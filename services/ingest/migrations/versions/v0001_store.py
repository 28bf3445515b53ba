"""The store."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alarm",
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("boot", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("state", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("node", "device", "rule"),
    )
    op.create_table(
        "device",
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("layout", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("node", "device", "profile"),
    )
    op.create_table(
        "estimate",
        sa.Column("stream", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("of_boot", sa.String(), nullable=False),
        sa.Column("of_seq", sa.BigInteger(), nullable=False),
        sa.Column("estimates", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("stream", "ts", "seq"),
        postgresql_partition_by="RANGE (ts)",
    )
    op.create_table(
        "event",
        sa.Column("stream", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("occurrence", sa.String(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("alarm", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("stream", "ts", "seq"),
        postgresql_partition_by="RANGE (ts)",
    )
    op.create_table(
        "layout",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("period_s", sa.Float(), nullable=False),
        sa.Column("channels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("layout_identity", "layout", ["profile", "hash"], unique=True)
    op.create_table(
        "node_status",
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("session", sa.String(), nullable=False),
        sa.Column("status", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("alive_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("node", "service"),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "receipt",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("stream", sa.Integer(), nullable=False),
        sa.Column("lo", sa.BigInteger(), nullable=False),
        sa.Column("hi", sa.BigInteger(), nullable=False),
        sa.Column("first_ts", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_ts", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "rollup_3600",
        sa.Column("stream", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("layout", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("low", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("high", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("mean", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("n", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.PrimaryKeyConstraint("stream", "ts", "layout"),
    )
    op.create_table(
        "rollup_60",
        sa.Column("stream", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("layout", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("low", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("high", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("mean", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("n", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.PrimaryKeyConstraint("stream", "ts", "layout"),
    )
    op.create_table(
        "rollup_mark",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("stream", sa.Integer(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "sample",
        sa.Column("stream", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("layout", sa.Integer(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("channels", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("quality", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("stream", "ts", "seq"),
        postgresql_partition_by="RANGE (ts)",
    )
    op.create_table(
        "score",
        sa.Column("stream", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("score", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("threshold", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("bundle", sa.String(), nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("judged", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("shares", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("compute_ms", sa.REAL(), nullable=False),
        sa.Column("latency_ms", sa.REAL(), nullable=True),
        sa.PrimaryKeyConstraint("stream", "ts", "seq"),
        postgresql_partition_by="RANGE (ts)",
    )
    op.create_table(
        "stream",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("boot", sa.String(), nullable=False),
        sa.Column("received", postgresql.INT8MULTIRANGE(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("announced", postgresql.INT8MULTIRANGE(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("lost", postgresql.INT8MULTIRANGE(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("untimed", postgresql.INT8MULTIRANGE(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "missing",
            postgresql.INT8MULTIRANGE(),
            sa.Computed(
                "(announced + int8multirange(int8range(0, coalesce(upper(received), 0)))) - received - lost - untimed",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column("closed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("tail_unknown", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("first_ts", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_ts", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index("stream_identity", "stream", ["node", "device", "kind", "name", "boot"], unique=True)
    op.create_index("stream_missing", "stream", ["id"], unique=False, postgresql_where=sa.text("NOT isempty(missing)"))


def downgrade() -> None:
    op.drop_index("stream_missing", table_name="stream", postgresql_where=sa.text("NOT isempty(missing)"))
    op.drop_index("stream_identity", table_name="stream")
    op.drop_table("stream")
    op.drop_table("score")
    op.drop_table("sample")
    op.drop_table("rollup_mark")
    op.drop_table("rollup_60")
    op.drop_table("rollup_3600")
    op.drop_table("receipt")
    op.drop_table("quarantine")
    op.drop_table("node_status")
    op.drop_index("layout_identity", table_name="layout")
    op.drop_table("layout")
    op.drop_table("event")
    op.drop_table("estimate")
    op.drop_table("device")
    op.drop_table("alarm")
