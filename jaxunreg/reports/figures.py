"""The figures of a page: files with their captions."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from jaxunreg.plots.style import save_figure


class Section(NamedTuple):
    """A figure and how to read it.

    Attributes:
      title: heading.
      figure: a PNG file, whose bytes go into the page.
      how_to_read: what the figure shows, and what to look for.
      alt: the text for readers who do not see the image; the title if left empty.
    """

    title: str
    figure: Path
    how_to_read: str
    alt: str = ""


@dataclass(frozen=True)
class Figures:
    """The figures of a page, in the order in which they are added.

    Attributes:
      folder: folder for the files.
      sections: the figures that were added, for `write_page`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     figures = Figures(Path(folder, "figures"))
    ...     figures.add("roc", "ROC curve", Figure(figsize=(1, 1)), "Upper left is better.")
    ...     [(section.title, section.figure.name, section.figure.is_file()) for section in figures.sections]
    [('ROC curve', 'roc.png', True)]
    """

    folder: Path
    sections: list[Section] = field(default_factory=list)

    def add(self, name: str, title: str, figure: Figure, how_to_read: str, *, alt: str = "") -> None:
        """Save a figure as `name.png` in the folder, which is made if it does not exist, and put it on the page.

        Args:
          name: name of the file, without its suffix.
          title: see `Section`.
          figure: see `jaxunreg.plots`.
          how_to_read: see `Section`.
          alt: see `Section`.

        Raises:
          OSError: the file cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.png"
        save_figure(figure, path)
        self.sections.append(Section(title, path, how_to_read, alt))
