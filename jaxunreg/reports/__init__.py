"""The page of a run: figures and tables in one file."""

from jaxunreg.reports.page import Section, write_page
from jaxunreg.reports.tables import Cell, Table

__all__ = ["Cell", "Section", "Table", "write_page"]
