// The photo: chosen, dropped or pasted, shown large, with a box round the vehicle that mouse, touch and keyboard can set.
// A box is [x0, y0, x1, y1] in fractions of the upright photo, as the job wants it.

import { clamp, h } from '/viewer/dom.js';

const LEAST = 0.02; // share of the photo that a box keeps in each direction
const round = value => Math.round(value * 1e4) / 1e4;

/** The two corners in order, inside the photo, and not too small. Pure. */
export function tidy([x0, y0, x1, y1]) {
  const pair = (a, b) => {
    const low = clamp(Math.min(a, b), 0, 1 - LEAST);
    return [round(low), round(clamp(Math.max(a, b), low + LEAST, 1))];
  };
  const [left, right] = pair(x0, x1), [top, bottom] = pair(y0, y1);
  return [left, top, right, bottom];
}

/** The same box elsewhere, kept inside the photo. Pure. */
export function moved([x0, y0, x1, y1], dx, dy) {
  const x = clamp(dx, -x0, 1 - x1), y = clamp(dy, -y0, 1 - y1);
  return [round(x0 + x), round(y0 + y), round(x1 + x), round(y1 + y)];
}

/** `choose(file)`: a photo was chosen; `sample()`: the sample is wanted. */
export function createPhoto({ choose, sample, clear }) {
  const input = h('input', { type: 'file', accept: 'image/*,.heic,.heif,.avif,.tif,.tiff', hidden: true, 'aria-label': 'Photo file', onchange() { if (this.files[0]) choose(this.files[0]); this.value = ''; } });
  const pick = h('button', { type: 'button', class: 'primary', onclick: () => input.click() }, 'Choose a photo');
  const empty = h('div', { class: 'drop' }, h('div', {},
    h('h2', {}, 'Drop a photograph of a vehicle'),
    h('p', { class: 'soft' }, 'It becomes a flat vector illustration in the colours of your palette.'),
    h('div', { class: 'tools' }, pick, h('button', { type: 'button', onclick: sample }, 'Use the sample')),
    h('p', { class: 'note' }, 'Or paste one. JPEG, PNG, WebP, AVIF, HEIC, TIFF or BMP.')));
  const image = h('img', { alt: 'The chosen photo', draggable: 'false' });
  const box = h('div', { class: 'box', tabindex: 0, role: 'group', 'aria-label': 'Vehicle box: arrow keys move it, with Shift they move its right lower corner' },
    ['nw', 'ne', 'sw', 'se'].map(corner => h('i', { 'data-corner': corner })));
  const canvas = h('div', { class: 'canvas' }, image, box);
  const unseen = h('p', { class: 'unseen', hidden: true }, 'This browser cannot show this kind of picture. It can be sent all the same; the box can be given in numbers.');
  const name = h('p', { class: 'soft name' });
  const names = ['Left', 'Top', 'Right', 'Bottom'];
  const fields = names.map((label, at) => h('input', {
    type: 'number', min: 0, max: 100, step: 0.1, inputmode: 'decimal', onchange() {
      if (this.value === '' || !value) return show();
      const next = [...value];
      next[at] = Number(this.value) / 100;
      set(next);
    },
  }));
  const start = h('button', { type: 'button', onclick() { set(value ?? [0.1, 0.15, 0.9, 0.85]); fields[0].focus(); } }, 'Set a vehicle box');
  const drop = h('button', { type: 'button', onclick() { set(null); start.focus(); } }, 'Remove the box');
  const numbers = h('div', { class: 'numbers', role: 'group', 'aria-label': 'Vehicle box in percent of the photo' },
    fields.map((field, at) => h('label', {}, names[at], field, ' %')), drop);
  const hint = h('p', { class: 'note' }, 'Drag a box round the vehicle: the best thing that can be done for its outline.');
  const loaded = h('figure', { class: 'loaded', hidden: true }, canvas, unseen,
    h('figcaption', {}, h('div', { class: 'row' }, name, h('span', { class: 'tools' },
      start, h('button', { type: 'button', onclick: () => input.click() }, 'Another photo'), h('button', { type: 'button', onclick: clear }, 'Clear'))), numbers, hint));
  const element = h('div', { class: 'photo' }, input, empty, loaded);
  let value = null, address = '';

  function show() {
    box.hidden = numbers.hidden = value === null;
    start.hidden = hint.hidden = value !== null;
    if (value === null) return;
    const [x0, y0, x1, y1] = value;
    Object.assign(box.style, { left: `${100 * x0}%`, top: `${100 * y0}%`, width: `${100 * (x1 - x0)}%`, height: `${100 * (y1 - y0)}%` });
    fields.forEach((field, at) => { field.value = String(Math.round(value[at] * 1000) / 10); });
  }
  function set(next) { value = next && tidy(next); show(); }

  image.addEventListener('error', () => { if (address) { canvas.hidden = true; unseen.hidden = false; } });
  draggable(canvas, box, () => value, set);
  box.addEventListener('keydown', event => {
    const by = { ArrowLeft: [-0.01, 0], ArrowRight: [0.01, 0], ArrowUp: [0, -0.01], ArrowDown: [0, 0.01] }[event.key];
    if (event.key === 'Delete' || event.key === 'Backspace') { event.preventDefault(); drop.click(); }
    if (!by) return;
    event.preventDefault();
    set(event.shiftKey ? [value[0], value[1], value[2] + by[0], value[3] + by[1]] : moved(value, ...by));
  });
  show();
  return {
    element,
    get box() { return value; },
    set box(next) { set(next); },
    focus: () => pick.focus(),
    async show(file, vehicle = null) {
      URL.revokeObjectURL(address);
      address = file ? URL.createObjectURL(file) : '';
      canvas.hidden = false;
      unseen.hidden = true;
      image.removeAttribute('src');
      if (file) image.src = address;
      name.textContent = file?.name ?? '';
      empty.hidden = file !== null;
      loaded.hidden = file === null;
      set(vehicle);
    },
  };
}

/** A drag on the photo draws a box, on the box moves it, on a corner resizes it. */
function draggable(canvas, box, read, set) {
  const place = event => {
    const area = canvas.getBoundingClientRect();
    return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
  };
  let drag = null;
  canvas.addEventListener('pointerdown', event => {
    const onBox = box.contains(event.target);
    // a finger on the bare photo scrolls the page; the box and its corners are for fingers
    if (event.button || (event.pointerType === 'touch' && !onBox)) return;
    const [x, y] = place(event), value = read(), corner = event.target.dataset.corner;
    if (corner) drag = { fixed: [corner.endsWith('w') ? value[2] : value[0], corner.startsWith('n') ? value[3] : value[1]] };
    else drag = onBox ? { from: [x, y], value } : { fixed: [x, y] };
    canvas.setPointerCapture(event.pointerId);
    if (!onBox) event.preventDefault();
  });
  canvas.addEventListener('pointermove', event => {
    if (!drag) return;
    const [x, y] = place(event);
    if (drag.from) set(moved(drag.value, x - drag.from[0], y - drag.from[1]));
    else if (Math.hypot(x - drag.fixed[0], y - drag.fixed[1]) > LEAST) set([...drag.fixed, x, y]);
  });
  for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => { drag = null; });
}
