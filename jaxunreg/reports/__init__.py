"""The reports of a run: a page with its figures, and tables for page, console, document and spreadsheet."""

from jaxunreg.reports.console_table import print_table
from jaxunreg.reports.evaluation import write_evaluation
from jaxunreg.reports.evaluation_figures import draw_evaluation
from jaxunreg.reports.evaluation_tables import tabulate_evaluation
from jaxunreg.reports.figures import Figures, Section
from jaxunreg.reports.html_table import as_html
from jaxunreg.reports.page import write_page
from jaxunreg.reports.tables import Cell, Table
from jaxunreg.reports.text_tables import as_csv, as_latex, as_markdown, write_table

__all__ = [
    "Cell",
    "Figures",
    "Section",
    "Table",
    "as_csv",
    "as_html",
    "as_latex",
    "as_markdown",
    "draw_evaluation",
    "print_table",
    "tabulate_evaluation",
    "write_evaluation",
    "write_page",
    "write_table",
]
