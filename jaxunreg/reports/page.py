"""The page of a run: one HTML file with its numbers, its figures and the command that made it."""

import base64
import html
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from PIL import Image

from jaxunreg.files import replacing
from jaxunreg.reports.tables import Table, as_html


class Section(NamedTuple):
    """A figure and how to read it.

    Attributes:
      title: heading.
      figure: a PNG file; its bytes go into the page.
      how_to_read: what is drawn, and what to look for.
      alt: what stands for the image where it cannot be seen; the title if left empty.
    """

    title: str
    figure: Path
    how_to_read: str
    alt: str = ""


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
    """Write a page that needs nothing else: figures and style are inside, nothing is loaded, nothing run.

    All text is escaped. The same arguments give the same bytes. The file appears whole or not at all.

    Args:
      path: where to; a file that is there is replaced. Its folder must exist.
      title: title of the page.
      subtitle: a line under it.
      command: the command that made the run.
      warning: what must not be overlooked, e.g. that another data set was used than the one asked for.
      summary: the result in words; an empty line begins a paragraph.
      tables: the numbers.
      sections: the figures.
      details: data set, fingerprint, versions, device, timings and the like, in the order to show them.
      config: the configuration of the run; mappings may be nested.

    Raises:
      OSError: a figure cannot be read or the page cannot be written.
      ValueError: a figure is not a PNG file, or a row of a table has not as many cells as the header.

    >>> import tempfile
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
            *(as_html(index, table) for index, table in enumerate(tables, start=1)),
            "<h2>Made by</h2>",
            f'<pre class="command" tabindex="0"><code>{html.escape(command)}</code></pre>',
            *(["<h2>Figures</h2>", _contents(sections)] if sections else []),
            *figures,
            *(["<h2>The run</h2>", _definitions(details.items())] if details else []),
            *(_config(config) if config else []),
        ]
    )
    page = _PAGE.substitute(title=html.escape(title), style=_STYLE, body=body)
    with replacing(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def _figure(index: int, section: Section) -> str:
    content = section.figure.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            width, height = image.size
            image.verify()
    except (OSError, SyntaxError) as error:  # Pillow has both for a broken file.
        raise ValueError(
            f"got {section.figure}, {len(content)} bytes that begin with {content[:8]!r}; expected a whole "
            "PNG file; write it with jaxunreg.plots.save_figure"
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


# The policy has the browser itself refuse whatever is not in the file.
_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")

_STYLE = """\
:root {
  color-scheme: light dark;
  --page: #fbfbf9; --ink: #1d1f21; --quiet: #5d6368; --rule: #dcdcd6; --raised: #f1f1ec; --link: #005f99;
  --best: #dcefe0; --best-ink: #0b5a26; --loud: #b3261e; --loud-ink: #ffffff;
  --shadow: 0 1px 3px rgb(0 0 0 / .10);
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #16181a; --ink: #e6e6e1; --quiet: #a0a6ab; --rule: #34383c; --raised: #202326; --link: #7cc4f5;
    --best: #173f25; --best-ink: #a5e8b9; --loud: #ffb020; --loud-ink: #1d1300; --shadow: none;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 1.0625rem/1.55 "Charter", "Bitstream Charter", "Iowan Old Style", Georgia, "Times New Roman", serif;
}
main { max-width: 78rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
header { border-bottom: 1px solid var(--rule); margin-bottom: 1.5rem; }
h1 { font-size: 2.1rem; line-height: 1.2; font-weight: 600; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1.4rem; font-weight: 600; margin: 2.75rem 0 .75rem; }
h3 { font-size: 1.15rem; font-weight: 600; margin: 0 0 .6rem; }
.subtitle { color: var(--quiet); font-size: 1.15rem; margin: .4rem 0 1.4rem; }
.warning {
  background: var(--loud); color: var(--loud-ink); border-radius: .4rem; padding: .9rem 1.1rem;
  margin: 0 0 1.5rem; font-size: 1.1rem;
}
.summary { max-width: 46rem; font-size: 1.15rem; margin: 0 0 1rem; }
.scroll { overflow-x: auto; }
table {
  border-collapse: collapse; min-width: min(100%, 30rem);
  font-family: system-ui, sans-serif; font-size: .95rem; font-variant-numeric: tabular-nums;
}
.caption { font-weight: 600; margin: 2rem 0 .6rem; }
th, td { padding: .45rem .9rem; text-align: right; white-space: nowrap; }
tr > * { border-bottom: 1px solid var(--rule); }
thead th { font-weight: 600; border-top: 2px solid var(--ink); border-bottom: 1px solid var(--ink); }
tbody tr:last-child > * { border-bottom: 2px solid var(--ink); }
th:first-child { text-align: left; }
tbody th { font-weight: 500; }
td.best { background: var(--best); color: var(--best-ink); }
.interval { color: var(--quiet); font-size: .82em; margin-left: .25em; }
td.best .interval { color: inherit; }
.note { color: var(--quiet); font-size: .95rem; max-width: 46rem; margin: .5rem 0 0; }
pre.command {
  background: var(--raised); border: 1px solid var(--rule); border-radius: .4rem; padding: .85rem 1rem;
  margin: 0; overflow-x: auto; user-select: all; -webkit-user-select: all;
}
code, dd { font: .9rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
nav ol { margin: 0 0 1.5rem; padding-left: 1.5rem; columns: 20rem 2; column-gap: 2.5rem; }
a { color: var(--link); text-underline-offset: .15em; }
figure { margin: 0 0 3rem; scroll-margin-top: 1rem; break-inside: avoid; }
.card {
  background: #ffffff; border: 1px solid var(--rule); border-radius: .5rem; box-shadow: var(--shadow);
  padding: 1.1rem; overflow-x: auto;
}
.card img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { max-width: 50rem; margin-top: .7rem; color: var(--quiet); }
figcaption b { color: var(--ink); font-weight: 600; }
dl { margin: 0; }
dl > div {
  display: grid; grid-template-columns: 15rem 1fr; gap: 0 1.25rem; padding: .3rem 0;
  border-bottom: 1px solid var(--rule);
}
dt { color: var(--quiet); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; }
details { margin-top: 2rem; }
summary { cursor: pointer; font-size: 1.15rem; font-weight: 600; margin-bottom: .5rem; }
@media (max-width: 40rem) {
  main { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.6rem; }
  .card { padding: .6rem; }
  /* Below this width the letters of a figure are too small: it is scrolled sideways instead. */
  .card img { max-width: none; width: 40rem; }
  th, td { padding: .4rem .55rem; }
  dl > div { grid-template-columns: 1fr; }
}
@media print {
  body { background: none; color: #000000; }
  .card { box-shadow: none; }
}
"""
