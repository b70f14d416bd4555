"""Style and script of the HTML report. Both are admitted by their hash, so nothing in the data can add to them."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --accent: #0072b2; }
body { margin: 0; font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
thead th { border-top: 2px solid; border-bottom: 1px solid; vertical-align: bottom; }
tbody tr:last-child > * { border-bottom: 2px solid; }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; }
tbody th { font-weight: 500; }
#board tbody tr:hover { background: var(--soft); }
thead button { all: unset; cursor: pointer; font-weight: 600; white-space: normal; max-width: 11rem; }
thead button:focus-visible, .card:focus-visible, .wide:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
th[aria-sort=descending] button::after { content: " \\25BE"; } th[aria-sort=ascending] button::after { content: " \\25B4"; }
td small { opacity: .75; }
input { font: inherit; padding: .2rem .4rem; }
.wide { overflow-x: auto; }
.notes { font-size: .85rem; opacity: .85; padding-left: 1.1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 1rem; }
figure { margin: 0; } svg { width: 100%; height: auto; }
.gallery { list-style: none; margin: 0; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: .8rem; }
.card { font: inherit; color: inherit; width: 100%; padding: .4rem; display: grid; gap: .3rem; text-align: left; cursor: pointer;
  background: var(--soft); border: 1px solid var(--line); border-radius: 6px; }
.card img { width: 100%; height: 130px; object-fit: cover; border-radius: 4px; }
.phrase { font-weight: 600; overflow-wrap: anywhere; }
dialog { max-width: min(1100px, 94vw); border: 1px solid var(--line); border-radius: 8px; }
dialog::backdrop { background: #000a; }
dialog h4 { margin: 0; font-size: 1.1rem; overflow-wrap: anywhere; }
.layers { display: flex; flex-wrap: wrap; gap: .8rem; margin: .6rem 0; }
.stack { position: relative; line-height: 0; } .over { position: absolute; inset: 0; } .map { max-width: 320px; image-rendering: pixelated; }
"""

SCRIPT = """
'use strict';
for (const board of document.querySelectorAll('table[id^=board]')) {
  const suffix = board.id.slice('board'.length);
  const body = board.tBodies[0];
  const heads = [...board.tHead.rows[0].cells];
  const text = (row, at) => row.cells[at].textContent;
  const value = (row, at) => 'value' in row.cells[at].dataset ? Number(row.cells[at].dataset.value) : null;
  const order = (at, down) => (a, b) => {
    if (at === 0) return (down ? -1 : 1) * text(a, 0).localeCompare(text(b, 0));
    const x = value(a, at), y = value(b, at);
    if (x === null || y === null) return (x === null) - (y === null);
    return down ? y - x : x - y;
  };
  heads.forEach((head, at) => head.querySelector('button').addEventListener('click', () => {
    const now = head.getAttribute('aria-sort');
    const down = at === 0 ? now === 'ascending' : now !== 'descending';
    heads.forEach(other => other.setAttribute('aria-sort', 'none'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    body.append(...[...body.rows].sort(order(at, down)));
  }));
  const filter = document.getElementById('filter' + suffix);
  filter.addEventListener('input', () => {
    const wanted = filter.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let left = 0;
    for (const row of body.rows) {
      row.hidden = !wanted.every(word => text(row, 0).toLowerCase().includes(word));
      left += !row.hidden;
    }
    document.getElementById('matches' + suffix).textContent = wanted.length ? left + ' of ' + body.rows.length + ' rows' : '';
  });
}
for (const card of document.querySelectorAll('[data-dialog]')) {
  const dialog = document.getElementById(card.dataset.dialog);
  card.addEventListener('click', () => dialog.showModal());
  dialog.querySelector('.close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', event => { if (event.target === dialog) dialog.close(); });
}
"""
