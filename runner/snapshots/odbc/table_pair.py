"""The tables of a store in a database: they are made, those of older versions are widened, and their columns known."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from runner.errors import ConfigError, StoreError
from runner.snapshots.odbc.connection import Result
from runner.snapshots.odbc.dialects import FACTS
from runner.snapshots.odbc.driver import load, message, shown, translation
from runner.snapshots.odbc.session import Session
from runner.snapshots.odbc.statements import Table

log = logging.getLogger(__name__)


class Tables:
    """The main table and its companion.

    Args:
        odbc: the connection string, without its passwords.
        name: the main table.
        may_create: whether they, or columns of theirs, may be created.
    """

    def __init__(self, odbc: str, name: str, may_create: bool) -> None:
        self.odbc = odbc
        self.name = name
        self.may_create = may_create
        self._facts: tuple[bool, bool] | None = None

    def __str__(self) -> str:
        return f"table {self.name} of {shown(self.odbc)}"

    def make(self, session: Session) -> None:
        """Creates the tables that do not exist, and adds what older ones lack.

        Raises:
            ConfigError: a table does not exist and may not be created, or is another program's.
            StoreAccessError: rights are missing.
        """
        missing = [table for table in (session.sql.main, session.sql.chunks) if self._is_missing(session, table)]
        if missing and not self.may_create:
            ddl = " ".join(f"{statement};" for table in missing for statement in table.create)
            raise ConfigError(
                f"table {self.name!r} does not exist, and snapshotter.create_table=false: have it created with: {ddl}"
            )
        for table in missing:
            self._create(session, table)
        self._widen(session)

    def learn_facts(self, session: Session) -> None:
        """Tells a session whether the companion table has the columns of `FACTS`, and what this account may do with them."""
        if self._facts is None:
            there = self.of_headers(session)["sizes"]
            may = there and (session.dialect.embedded or isinstance(session.attempt(session.sql.change_none), Result))
            self._facts = there, may
        session.facts, session.sizes = self._facts

    def of_headers(self, session: Session) -> Mapping[str, bool]:
        """Returns whether there is a table with the headers, and whether that has the sizes."""
        columns = self.columns(session, session.sql.chunks)
        return {"headers": columns is not None, "sizes": columns is not None and FACTS.keys() <= {*map(str.lower, columns)}}

    def columns(self, session: Session, table: Table) -> Sequence[str] | None:
        """Returns the names of a table's columns, or None if there is no such table."""
        found = session.attempt(table.select)
        if isinstance(found, Result):
            return found.columns
        error = translation(found, f"read table {self.name!r}", self.odbc)
        if type(error) is not StoreError:
            raise error from found
        return None

    def _widen(self, session: Session) -> None:
        """Adds the columns of `FACTS` to a table from before there were any. Without the right to, it stays as it is."""
        self.learn_facts(session)
        if session.facts:
            return
        if self.may_create:
            for statement in session.sql.widen:
                session.attempt(statement, commit=True)
            self._facts = None
            self.learn_facts(session)
        if session.sizes:
            self._describe_older(session)
        elif not session.facts:
            log.info(
                "%s has no columns to ask for epoch, score and sizes, and this account does not add them: `veles-snapshots ddl"
                " --upgrade` prints the SQL for an administrator",
                self,
            )

    def _describe_older(self, session: Session) -> None:
        """Fills the new columns for the snapshots that are there. Nothing depends on it, so no error ends the run."""
        try:
            for count in session.describe_older():
                session.connection.commit()
                log.info("%s: columns filled for %d snapshots", self, count)
        except load().Error as error:
            session.connection.rollback()
            log.warning("%s: epoch, score and sizes of older snapshots are not in its columns: %s", self, message(error))

    def _create(self, session: Session, table: Table) -> None:
        refusals = [session.attempt(statement, commit=True) for statement in table.create]
        # An error is fine if another run has created the table in the meantime. A table without indexes is only slower.
        if not isinstance(error := session.attempt(table.select), Result):
            cause = error if isinstance(refusals[0], Result) else refusals[0]
            raise translation(cause, f"create table {self.name!r}", self.odbc) from error

    def _is_missing(self, session: Session, table: Table) -> bool:
        columns = self.columns(session, table)
        if columns is None:
            return True
        if missing := [name for name in table.columns if name not in map(str.lower, columns)]:
            raise ConfigError(
                f"table {table.title!r} has no column {', '.join(missing)} (it has {', '.join(columns)}), so it is"
                " not a table of snapshots: choose another with snapshotter.table=NAME"
            )
        return False
