"""The page of a run: one HTML file with its numbers, its figures and the command that made it."""

import base64
import html
import importlib.resources
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from jaxunreg.errors import ArgumentError
from jaxunreg.files import replacing
from jaxunreg.reports.figures import Section
from jaxunreg.reports.html_table import as_html
from jaxunreg.reports.tables import Table


def write_page(
    path: str | Path,
    *,
    title: str,
    subtitle: str,
    command: str,
    warning: str | None,
    summary: str,
    tables: Sequence[Table],
    sections: Sequence[Section],
    details: Mapping[str, str],
    config: Mapping[str, Any],
) -> None:
    """Write a page that needs no other file. Figures and style are inside. It loads nothing and runs nothing.

    All text is escaped. The same arguments give the same bytes. The file appears whole or not at all.

    Args:
      path: the file, which is replaced if it exists. Its folder must exist.
      title: title of the page.
      subtitle: a line under the title.
      command: the command that made the run.
      warning: a text that nobody should overlook, e.g. that another data set was used than the one asked for.
      summary: the result in words; an empty line begins a paragraph.
      tables: the numbers.
      sections: the figures, e.g. `Figures.sections`.
      details: data set, fingerprint, versions, device, timings and the like, in this order.
      config: the configuration of the run; mappings may be nested.

    Raises:
      OSError: a figure cannot be read or the page cannot be written.
      ArgumentError: a figure is not a PNG file.

    >>> import tempfile
    >>> from jaxunreg.metrics.interval import Interval
    >>> table = Table("ROC AUC", ["model", "L", "M"], [["VAE", 0.745, Interval(0.943, 0.938, 0.948)]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = Path(folder, "index.html")
    ...     write_page(page, title="Toy study", subtitle="digits", command="python -m experiments.svhn_toy",
    ...                warning=None, summary="M is above L.", tables=[table], sections=[], details={},
    ...                config={})
    ...     "<strong>0.943</strong>" in page.read_text(encoding="utf-8")
    True
    """
    figures = [_figure(index, section) for index, section in enumerate(sections, start=1)]
    paragraphs = [part.strip() for part in summary.split("\n\n") if part.strip()]
    body = "\n".join(
        [
            "<header>",
            f"<h1>{html.escape(title)}</h1>",
            f'<p class="subtitle">{html.escape(subtitle)}</p>',
            "</header>",
            *([f'<p class="warning" role="note"><b>Warning.</b> {html.escape(warning)}</p>'] if warning else []),
            *(f'<p class="summary">{html.escape(part)}</p>' for part in paragraphs),
            *(as_html(table, index) for index, table in enumerate(tables, start=1)),
            "<h2>Made by</h2>",
            f'<pre class="command" tabindex="0"><code>{html.escape(command)}</code></pre>',
            *(["<h2>Figures</h2>", _contents(sections)] if sections else []),
            *figures,
            *(["<h2>The run</h2>", _definitions(details.items())] if details else []),
            *(_config(config) if config else []),
        ]
    )
    page = Template(_bundled("template.html")).substitute(
        title=html.escape(title), style=_bundled("report.css"), body=body
    )
    with replacing(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def _bundled(name: str) -> str:
    """Return the text of a file beside this module."""
    return importlib.resources.files("jaxunreg.reports").joinpath(name).read_text(encoding="utf-8")


def _figure(index: int, section: Section) -> str:
    content = section.figure.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            width, height = image.size
            image.verify()
    except (OSError, SyntaxError) as error:  # Pillow has both for a broken file.
        raise ArgumentError(
            f"{section.figure}, {len(content)} bytes that begin with {content[:8]!r}",
            "a whole PNG file",
            "write it with jaxunreg.plots.save_figure",
        ) from error
    return "\n".join(
        [
            f'<figure id="figure-{index}">',
            f"<h3>{html.escape(section.title)}</h3>",
            '<div class="card" tabindex="0">',
            f'<img width="{width}" height="{height}" alt="{html.escape(section.alt or section.title)}" '
            f'src="data:image/png;base64,{base64.b64encode(content).decode("ascii")}">',
            "</div>",
            f"<figcaption><b>How to read.</b> {html.escape(section.how_to_read)}</figcaption>",
            "</figure>",
        ]
    )


def _contents(sections: Sequence[Section]) -> str:
    items = (
        f'<li><a href="#figure-{index}">{html.escape(section.title)}</a></li>'
        for index, section in enumerate(sections, start=1)
    )
    return "\n".join(['<nav aria-label="Figures">', "<ol>", *items, "</ol>", "</nav>"])


def _definitions(items: Iterable[tuple[str, str]]) -> str:
    lines = (f"<div><dt>{html.escape(str(name))}</dt><dd>{html.escape(str(value))}</dd></div>" for name, value in items)
    return "\n".join(["<dl>", *lines, "</dl>"])


def _config(config: Mapping[str, Any]) -> list[str]:
    return [
        "<details>",
        "<summary>Configuration</summary>",
        _definitions((name, json.dumps(value, ensure_ascii=False, default=str)) for name, value in _flat(config)),
        "</details>",
    ]


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
