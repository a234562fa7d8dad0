// The gallery: only the cards in view are in the page, so that ten thousand rows are as quick as ten.
'use strict';
const rows = JSON.parse(document.getElementById('rows').textContent);
const $ = id => document.getElementById(id);
const LEAST_WIDTH = 330, HEIGHT = 250, BEYOND = 2; // a card's width and height, pixels; rows of cards kept above and below the view
let shown = rows, columns = 1, width = LEAST_WIDTH, current = 0, opened = 0;
const cards = new Map(); // index in `shown` → its element

function h(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties || {})) {
    if (key in element) element[key] = value; else element.setAttribute(key, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

const code = text => text.split(':', 1)[0];
const picture = (src, alt) => h('img', { loading: 'lazy', decoding: 'async', alt, src });

function told(row) {
  if (row.error) return row.error;
  const words = [];
  if (row.iou !== undefined) words.push(`IoU ${row.iou.toFixed(3)}`);
  if (row.seconds) words.push(`${row.seconds.toFixed(1)} s`);
  if (row.same) words.push(`same as ${row.same}`);
  words.push(...new Set((row.warnings || []).map(code)));
  return words.join(' · ');
}

function card(index) {
  const row = shown[index];
  const half = (src, alt, kind) => h('span', { className: kind }, src ? picture(src, alt) : kind === 'photo' ? 'no photo here' : row.error ? 'not drawn' : 'no picture');
  const button = h('button', { type: 'button', className: `card${row.error ? ' failed' : ''}`, tabIndex: index === current ? 0 : -1 },
    h('div', { className: 'pictures' }, half(row.before, `${row.id}, photo`, 'photo'), half(row.after, `${row.id}, drawing`, row.after ? 'drawn' : '')),
    h('div', { className: 'told' }, h('b', {}, row.id), h('span', { title: told(row) }, told(row) || '\u00a0')));
  button.addEventListener('click', () => open(index));
  button.addEventListener('focus', () => { select(index); });
  return h('li', { 'aria-setsize': shown.length, 'aria-posinset': index + 1 }, button);
}

function place() {
  const grid = $('grid'), space = grid.clientWidth;
  columns = Math.max(1, Math.floor(space / LEAST_WIDTH));
  width = space / columns;
  grid.style.height = `${Math.ceil(shown.length / columns) * HEIGHT}px`;
  const top = -grid.getBoundingClientRect().top;
  const first = Math.max(0, (Math.floor(top / HEIGHT) - BEYOND) * columns);
  const last = Math.min(shown.length, (Math.ceil((top + innerHeight) / HEIGHT) + BEYOND) * columns);
  for (const [index, element] of cards) {
    if ((index < first || index >= last) && index !== current) { element.remove(); cards.delete(index); }
  }
  for (let index = first; index < last; index++) add(index);
  if (current < shown.length) add(current);
  for (const [index, element] of cards) {
    Object.assign(element.style, { width: `${width}px`, height: `${HEIGHT}px`,
      transform: `translate(${(index % columns) * width}px, ${Math.floor(index / columns) * HEIGHT}px)` });
  }
}

function add(index) {
  if (cards.has(index)) return;
  const element = card(index);
  cards.set(index, element);
  const after = [...cards.keys()].filter(other => other > index).sort((a, b) => a - b)[0];
  $('grid').insertBefore(element, after === undefined ? null : cards.get(after)); // the order of reading is that of the pictures
}

function select(index) {
  const before = cards.get(current);
  if (before) before.firstChild.tabIndex = -1;
  current = index;
  if (cards.has(index)) cards.get(index).firstChild.tabIndex = 0;
}

function go(index) {
  if (!shown.length) return;
  select(Math.min(shown.length - 1, Math.max(0, index)));
  const top = $('grid').getBoundingClientRect().top + scrollY + Math.floor(current / columns) * HEIGHT;
  const head = document.querySelector('header').offsetHeight;
  if (top < scrollY + head) scrollTo(0, top - head - 8);
  else if (top + HEIGHT > scrollY + innerHeight) scrollTo(0, top + HEIGHT - innerHeight + 8);
  place();
  cards.get(current).firstChild.focus({ preventScroll: true });
}

function choices(select, first, values) {
  select.replaceChildren(h('option', { value: '' }, first), ...values.map(([value, label]) => h('option', { value }, label)));
}

function tally(lists) {
  const counts = new Map();
  for (const list of lists) for (const each of new Set(list)) counts.set(each, (counts.get(each) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([value, count]) => [value, `${value} (${count})`]);
}

function fill() {
  const failed = rows.filter(row => row.error).length;
  choices($('status'), `all (${rows.length})`, [['completed', `completed (${rows.length - failed})`], ['failed', `failed (${failed})`]]);
  choices($('warning'), 'any', [['-', 'none'], ...tally(rows.map(row => (row.warnings || []).map(code)))]);
  choices($('error'), 'any', tally(rows.filter(row => row.error).map(row => [code(row.error)])));
  choices($('iou'), 'any', [...['0.99', '0.95', '0.9', '0.8', '0.6'].map(limit => [limit, `below ${limit}`]), ['-', 'not measured']]);
}

function matches(row, words, status, warning, error, iou) {
  return (!status || (status === 'failed') === Boolean(row.error))
    && (!warning || (warning === '-' ? !row.warnings && !row.error : (row.warnings || []).some(each => code(each) === warning)))
    && (!error || Boolean(row.error) && code(row.error) === error)
    && (!iou || (iou === '-' ? row.iou === undefined && !row.error : row.iou < Number(iou)))
    && (!words || `${row.id}\n${row.error || ''}`.toLowerCase().includes(words));
}

function filter() {
  const values = ['status', 'warning', 'error', 'iou'].map(id => $(id).value), words = $('words').value.trim().toLowerCase();
  shown = rows.filter(row => matches(row, words, ...values));
  const order = $('order').value;
  if (order === 'iou') shown.sort((a, b) => (a.iou ?? 2) - (b.iou ?? 2));
  if (order === 'seconds') shown.sort((a, b) => (b.seconds || 0) - (a.seconds || 0));
  for (const element of cards.values()) element.remove();
  cards.clear();
  current = 0;
  $('none').hidden = shown.length > 0;
  $('count').textContent = shown.length === rows.length ? `${rows.length} pictures` : `${shown.length} of ${rows.length} pictures`;
  place();
}

function stage(row) {
  const drawing = row.png || row.svg || row.after;
  if (!drawing || !row.before || !row.rect) {
    return [row.before, drawing].filter(Boolean).map((src, side) => h('img', { src, alt: `${row.id}, ${side || !row.before ? 'drawing' : 'photo'}`,
      style: row.before && drawing ? 'max-width: calc(50% - 6px)' : '' }));
  }
  const [left, top, wide, high] = row.rect.map(part => `${100 * part}%`);
  const before = h('img', { src: row.before, alt: `${row.id}, photo` });
  Object.assign(before.style, { left, top, width: wide, height: high });
  const compare = h('div', { className: 'compare' }, h('img', { src: drawing, alt: `${row.id}, drawing` }),
    h('div', { className: 'half' }, before), h('div', { className: 'edge' }));
  const slide = event => {
    const box = compare.getBoundingClientRect();
    at(100 * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
  };
  compare.addEventListener('pointerdown', event => { compare.setPointerCapture(event.pointerId); slide(event); event.preventDefault(); });
  compare.addEventListener('pointermove', event => { if (event.buttons) slide(event); });
  return [compare];
}

function at(percent) {
  $('at').value = percent;
  $('stage').style.setProperty('--at', `${percent}%`);
}

function open(index) {
  const row = shown[index], link = (href, text) => href && h('a', { href, target: '_blank', rel: 'noopener' }, text);
  select(index);
  opened = index;
  $('name').textContent = row.id;
  $('links').replaceChildren(...[link(row.svg, 'SVG'), link(row.png, 'PNG'), link(row.report, 'Report')].filter(Boolean));
  $('stage').replaceChildren(...stage(row));
  $('slide').hidden = !$('stage').querySelector('.compare');
  at(50);
  $('facts').replaceChildren(
    ...(row.error ? [h('p', { className: 'bad' }, row.error)] : [h('p', {}, [row.iou === undefined ? 'IoU not measured' : `IoU ${row.iou}`,
      row.seconds && `${row.seconds} s`, row.same && `the same picture as ${row.same}`].filter(Boolean).join(' · '))]),
    ...(row.warnings || []).map(each => h('p', { className: 'warn' }, each)));
  $('previous').disabled = index === 0;
  $('next').disabled = index === shown.length - 1;
  if (!$('large').open) { $('large').showModal(); $('close').focus(); }
}

function step(by) {
  const index = opened + by;
  if (index >= 0 && index < shown.length) open(index);
}

const MOVES = { ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: () => columns, ArrowUp: () => -columns,
  PageDown: () => columns * Math.floor(innerHeight / HEIGHT), PageUp: () => -columns * Math.floor(innerHeight / HEIGHT),
  Home: () => -rows.length, End: () => rows.length };

addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches('input, select');
  if ($('large').open) {
    if (!typing && (event.key === 'ArrowLeft' || event.key === 'ArrowRight')) { step(event.key === 'ArrowLeft' ? -1 : 1); event.preventDefault(); }
    return;
  }
  if (event.key === '/' && !typing) { $('words').focus(); event.preventDefault(); return; }
  if (event.key === 'Escape' && event.target === $('words')) { go(current); return; }
  if (!typing && MOVES[event.key]) {
    const inside = event.target.classList.contains('card');
    go(inside ? current + MOVES[event.key]() : current);
    event.preventDefault();
  }
});

$('filters').addEventListener('input', filter);
$('filters').addEventListener('reset', () => setTimeout(filter));
$('filters').addEventListener('submit', event => { event.preventDefault(); go(0); });
$('at').addEventListener('input', () => at($('at').value));
$('previous').addEventListener('click', () => step(-1));
$('next').addEventListener('click', () => step(1));
$('close').addEventListener('click', () => $('large').close());
$('large').addEventListener('close', () => go(opened)); // the browser has given the focus to the card of before
$('theme').addEventListener('click', () => {
  const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
});
addEventListener('scroll', () => requestAnimationFrame(place), { passive: true });
addEventListener('resize', place);
fill();
filter();
