"""Style and script of the HTML report. Both are admitted by their hash, so nothing in the data can add to them."""

from __future__ import annotations

STYLE = r"""
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --dim: #57606a; --line: #d0d7de; --soft: #f6f8fa; --accent: #0060a0; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e6e9ed; --paper: #14171a; --dim: #9aa4af; --line: #3a4149; --soft: #1e2328; --accent: #6cb6ff; } }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif; color: var(--ink); background: var(--paper); }
main { max-width: 1180px; margin: 0 auto; padding: 1.5rem 1.25rem 5rem; }
h1 { font-size: 1.7rem; letter-spacing: -.01em; margin: 0 0 .5rem; } h2 { font-size: 1.3rem; margin: 0 0 .8rem; }
h3 { font-size: 1.02rem; margin: 1.8rem 0 .6rem; }
section { margin-top: 2.2rem; padding-top: 1.6rem; border-top: 1px solid var(--line); }
h1 + section, nav + section { border-top: 0; padding-top: 0; margin-top: 1.2rem; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; margin: 0; } a { color: var(--accent); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
thead th { border-top: 2px solid; border-bottom: 1px solid; vertical-align: bottom; }
tbody tr:last-child > * { border-bottom: 2px solid; }
th, td { padding: .28rem .7rem; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; }
tbody th { font-weight: 500; }
table[id^=board] tbody tr:hover, .explorer tbody tr:hover { background: var(--soft); }
thead button { all: unset; cursor: pointer; font-weight: 600; white-space: normal; max-width: 12rem; }
thead button:hover { color: var(--accent); }
:focus-visible, thead button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
th[aria-sort=descending] button::after { content: " \25BE"; } th[aria-sort=ascending] button::after { content: " \25B4"; }
td small { color: var(--dim); } sup { line-height: 0; color: var(--dim); margin-left: .1em; }
input, select, button { font: inherit; color: inherit; }
input, select, .pages button { padding: .25rem .55rem; border: 1px solid var(--line); border-radius: 6px; background: var(--paper); }
.pages button { background: var(--soft); cursor: pointer; } .pages button:disabled { opacity: .45; cursor: default; }
.controls, .pages { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1.1rem; } .controls input { width: min(19rem, 60vw); }
output, .pages span, .facts { color: var(--dim); }
.wide { overflow-x: auto; } .tall { max-height: 30rem; overflow-y: auto; }
.tall thead th { position: sticky; top: 0; background: var(--paper); box-shadow: inset 0 2px, inset 0 -1px; border: 0; }
.notes { font-size: .86rem; color: var(--dim); padding-left: 1.1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 1.4rem; }
figure { margin: 0; } figcaption { font-weight: 600; font-size: .92rem; } .layers figcaption { font-weight: 400; color: var(--dim); }
.charts svg { width: 100%; height: auto; } .bar { vertical-align: middle; border-radius: 2px; }
.bar + span { display: inline-block; min-width: 3.2em; }
details { margin-top: 1rem; border: 1px solid var(--line); border-radius: 8px; padding: .55rem .9rem; } details[open] { padding-bottom: .9rem; }
summary { cursor: pointer; font-weight: 600; } details > div, details > p { margin: .8rem 0 0; }
.gallery { list-style: none; margin: 0; padding: 0; display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fill, minmax(min(240px, 45%), 1fr)); }
.card { width: 100%; height: 100%; padding: .45rem; display: grid; gap: .2rem; align-content: start; text-align: left; cursor: pointer;
  background: var(--soft); border: 1px solid var(--line); border-radius: 8px; }
.card:hover { border-color: var(--accent); } .card img { width: 100%; height: 165px; object-fit: cover; border-radius: 4px; }
.card span:last-child { color: var(--dim); font-size: .9rem; }
.phrase { font-weight: 600; overflow-wrap: anywhere; }
.explorer td:first-child, .explorer tbody th { text-align: left; white-space: normal; min-width: 11rem; max-width: 26rem; overflow-wrap: anywhere; }
.explorer th:nth-child(2), .explorer td:nth-child(2) { text-align: left; max-width: 11rem; overflow: hidden; text-overflow: ellipsis; }
.explorer td:nth-child(2) { color: var(--dim); }
.explorer tbody button { all: unset; cursor: pointer; color: var(--accent); text-decoration: underline; text-underline-offset: 2px; }
.explorer tbody button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
dialog { width: min(1100px, 95vw); max-height: 94vh; color: var(--ink); background: var(--paper);
  border: 1px solid var(--line); border-radius: 10px;
  padding: 1.2rem 1.4rem; }
dialog::backdrop { background: #000a; }
dialog h4 { margin: 0; font-size: 1.15rem; overflow-wrap: anywhere; white-space: pre-wrap; }
.facts { margin: .2rem 0 .8rem; overflow-wrap: anywhere; }
.layers { display: flex; flex-wrap: wrap; gap: .9rem; margin: 0 0 1rem; } .layers figure { max-width: 100%; }
.stack { position: relative; line-height: 0; } .stack img { max-width: 100%; height: auto; border-radius: 4px; }
.dimmed > img:first-child { filter: brightness(.62) saturate(.7); }
.over { position: absolute; inset: 0; width: 100%; height: 100%; } .map { max-width: 320px; image-rendering: pixelated; }
@media print { .controls, .pages, .explorer { display: none; } }
"""

SCRIPT = r"""
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
  if (filter) filter.addEventListener('input', () => {
    const wanted = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of body.rows) {
      row.hidden = !wanted.every(word => text(row, 0).toLowerCase().includes(word));
      left += !row.hidden;
    }
    document.getElementById('matches' + suffix).textContent = wanted.length ? left + ' of ' + body.rows.length + ' rows' : '';
  });
}

const make = (tag, text, className) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
};
const percent = hundredths => (hundredths / 100).toFixed(2);
const sections = new Map();
// The samples of a section are read when somebody first asks for one: the page opens without them.
const read = index => {
  if (!sections.has(index)) {
    const data = JSON.parse(document.getElementById('data' + index).textContent);
    const judges = data.judges.map(place => data.iou[place]);
    data.mean = data.id.map((_, row) => judges.reduce((sum, scores) => sum + scores[row], 0) / judges.length);
    data.spread = data.id.map((_, row) => {
      const scores = judges.map(of => of[row]);
      return Math.max(...scores) - Math.min(...scores);
    });
    data.words = data.id.map((id, row) =>
      [data.phrase[row], id, data.category[row] ?? '', ...data.tags[row].map(tag => data.tagNames[tag])].join(' ').toLowerCase());
    sections.set(index, data);
  }
  return sections.get(index);
};

const viewer = document.getElementById('viewer');
let open = { index: '', rows: [], at: 0 };
const picture = (source, size) => {
  const image = make('img');
  image.src = source; image.alt = '';
  if (size) [image.width, image.height] = size;
  return image;
};
const layer = (base, over, size, name) => {
  const figure = make('figure'), stack = make('div', undefined, 'stack');
  stack.append(picture(base, size));
  if (over) { const mask = picture(over, size); mask.className = 'over'; stack.classList.add('dimmed'); stack.append(mask); }
  figure.append(stack, make('figcaption', name));
  return figure;
};
const show = () => {
  const data = read(open.index), row = open.rows[open.at], pictures = data.pictures[row];
  viewer.querySelector('h4').textContent = data.phrase[row];
  const facts = ['sample ' + data.id[row], 'image ' + data.image[row]];
  facts.push(percent(data.share[row]) + ' % of the canvas', data.instances[row] + (data.instances[row] === 1 ? ' instance' : ' instances'));
  if (data.category[row]) facts.push('category ' + data.category[row]);
  if (data.tags[row].length) facts.push('tags: ' + data.tags[row].map(tag => data.tagNames[tag]).join(', '));
  viewer.querySelector('.facts').textContent = facts.join(' \u00b7 ');
  const layers = viewer.querySelector('.layers');
  layers.replaceChildren();
  const card = document.querySelector(`.card[data-section="${open.index}"][data-row="${row}"] img`);
  if (pictures && card) {
    layers.append(layer(card.src, '', pictures.size, 'image'), layer(card.src, pictures.truth, pictures.size, 'ground truth'));
    data.models.forEach((name, k) => {
      const caption = name + ': IoU ' + percent(data.iou[k][row]);
      if (pictures.masks[k]) layers.append(layer(card.src, pictures.masks[k], pictures.size, caption));
    });
    data.models.forEach((name, k) => {
      if (!pictures.maps[k]) return;
      const figure = make('figure'), map = picture(pictures.maps[k]);
      map.className = 'map';
      figure.append(map, make('figcaption', name + ': score map'));
      layers.append(figure);
    });
  } else {
    layers.append(make('p', 'No pictures of this sample are in this file; report --html --show ' + data.id[row] + ' puts them in.', 'facts'));
  }
  viewer.querySelector('tbody').replaceChildren(...data.models.map((name, k) => {
    const line = make('tr'), head = make('th', name), cell = make('td'), meter = make('meter');
    head.scope = 'row';
    meter.max = 10000; meter.value = data.iou[k][row];
    meter.setAttribute('aria-hidden', 'true');
    cell.append(meter);
    line.append(head, make('td', percent(data.iou[k][row])), cell);
    return line;
  }));
  viewer.querySelector('.back').disabled = open.at === 0;
  viewer.querySelector('.next').disabled = open.at === open.rows.length - 1;
};
const enter = (index, rows, at) => { open = { index, rows, at }; show(); viewer.showModal(); viewer.scrollTop = 0; };
const step = by => { if (open.rows[open.at + by] !== undefined) { open.at += by; show(); } };
if (viewer) {
  viewer.querySelector('.close').addEventListener('click', () => viewer.close());
  viewer.querySelector('.back').addEventListener('click', () => step(-1));
  viewer.querySelector('.next').addEventListener('click', () => step(1));
  viewer.addEventListener('click', event => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener('keydown', event => {
    if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') { event.preventDefault(); step(event.key === 'ArrowLeft' ? -1 : 1); }
  });
}
for (const gallery of document.querySelectorAll('.gallery')) {
  const cards = [...gallery.querySelectorAll('.card')];
  cards.forEach((card, at) => card.addEventListener('click', () => enter(card.dataset.section, cards.map(other => Number(other.dataset.row)), at)));
}

const PAGE = 25;
for (const explorer of document.querySelectorAll('.explorer')) {
  const index = explorer.dataset.section;
  const search = explorer.querySelector('input'), order = explorer.querySelector('select'), said = explorer.querySelector('output');
  const [back, next] = [explorer.querySelector('.back'), explorer.querySelector('.next')], place = explorer.querySelector('.pages span');
  let rows = [], page = 0;
  const draw = () => {
    const data = read(index), pages = Math.max(1, Math.ceil(rows.length / PAGE));
    explorer.querySelector('tbody').replaceChildren(...rows.slice(PAGE * page, PAGE * (page + 1)).map((row, k) => {
      const line = make('tr'), head = make('th'), button = make('button', data.phrase[row] || '(empty phrase)');
      head.scope = 'row'; button.type = 'button';
      button.addEventListener('click', () => enter(index, rows, PAGE * page + k));
      head.append(button);
      const ident = make('td', data.id[row]);
      ident.title = data.id[row];
      line.append(head, ident, make('td', percent(data.mean[row])), ...data.iou.map(scores => make('td', percent(scores[row]))));
      return line;
    }));
    said.textContent = rows.length.toLocaleString('en') + ' of ' + data.id.length.toLocaleString('en') + ' samples';
    place.textContent = 'page ' + (page + 1) + ' of ' + pages;
    back.disabled = page === 0; next.disabled = page >= pages - 1;
  };
  const choose = () => {
    const data = read(index), wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean), by = order.value;
    rows = [...data.id.keys()].filter(row => wanted.every(word => data.words[row].includes(word)));
    const key = by === 'spread' ? row => -data.spread[row] : by === 'high' ? row => -data.mean[row] : by === 'low' ? row => data.mean[row]
      : by === 'id' ? () => 0 : row => data.iou[Number(by)][row];
    rows.sort((a, b) => key(a) - key(b) || a - b);
    page = 0;
    draw();
  };
  explorer.addEventListener('toggle', () => { if (explorer.open && !rows.length) choose(); });
  search.addEventListener('input', choose);
  order.addEventListener('change', choose);
  back.addEventListener('click', () => { page -= 1; draw(); });
  next.addEventListener('click', () => { page += 1; draw(); });
}
"""
