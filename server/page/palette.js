// The palette picker: ready-made ones, an own one, one pasted, one taken from a picture.

import { choice, h, press, swatch } from '/viewer/dom.js';

const split = text => text.split(',').map(digits => `#${digits}`);
export const DEFAULT = split('000000,FFFFFF,FF0000,00FF00,0000FF,FFFF00,FF00FF,00FFFF,808080,FFA500,800080,FFC0CB,A52A2A,008080,FFD700');
export const GUIDE = split('FF0000,00FF00,0000FF,FFFF00,FF00FF,00FFFF,000000,FFFFFF,808080,404040,C0C0C0,FFA500,800080,008080,FFB6C1');
export const LEAST = 2, MOST = 64;

/** `#RRGGBB` from 3 or 6 hex digits, # optional; null for anything else. */
export function hex(text) {
  const digits = /^#?([0-9a-f]{3}|[0-9a-f]{6})$/i.exec(text.trim())?.[1];
  if (!digits) return null;
  return `#${digits.length === 6 ? digits : [...digits].map(digit => digit + digit).join('')}`.toUpperCase();
}

/** Colours of a pasted list, each once, and what in it was none. */
export function readList(text) {
  const words = text.split(/[\s,;"'[\]()]+/).filter(Boolean);
  const wrong = words.filter(word => hex(word) === null);
  return { colors: [...new Set(words.map(hex).filter(Boolean))], wrong };
}

const same = (a, b) => a.length === b.length && a.every((color, at) => color === b[at]);

/** `fromPicture(file, count)` → colours. `photo()`: the photo that is chosen now, or null. `tell()`: the palette has changed. */
export function createPalette({ fromPicture, photo, tell }) {
  let colors = DEFAULT, at = 0, own = null;
  const list = h('ol', { class: 'swatches' });
  const count = h('span', { class: 'soft' });
  const say = h('p', { class: 'say', role: 'status' });
  const well = h('input', { type: 'color', 'aria-label': 'Pick this colour', oninput() { replace(hex(this.value)); } });
  const code = h('input', {
    type: 'text', size: 8, maxlength: 7, spellcheck: 'false', autocomplete: 'off', 'aria-label': 'This colour as hex', onchange() {
      const color = hex(this.value);
      if (color) replace(color); else say.textContent = `“${this.value}” is not a colour: 3 or 6 hex digits.`;
      show();
    },
  });
  const small = (label, text, act) => h('button', { type: 'button', 'aria-label': label, title: label, onclick: act }, text);
  const earlier = small('Move this colour forward', '←', () => move(at, at - 1));
  const later = small('Move this colour back', '→', () => move(at, at + 1));
  const remove = small('Remove this colour', 'Remove', () => {
    if (colors.length <= LEAST) { say.textContent = `A palette holds at least ${LEAST} colours.`; return; }
    change(colors.filter((_, other) => other !== at), Math.max(0, at - 1));
    focusSwatch();
  });
  const editor = h('div', { class: 'editor', role: 'group', 'aria-label': 'Chosen colour' }, well, code, h('span', { class: 'small tools' }, earlier, later, remove));
  const ready = choice('Palette', [['default', 'Default'], ['guide', 'Guide’s'], ['own', 'Own']], 'default', which => {
    if (which === 'own') change(own ?? colors, 0, true); else change(which === 'guide' ? GUIDE : DEFAULT, 0);
  });
  const area = h('textarea', { rows: 3, spellcheck: 'false', 'aria-label': 'Colours as hex', placeholder: 'FF0000, 00FF00, #0af …' });
  const paste = h('details', {}, h('summary', {}, 'Paste a list'), area, h('button', {
    type: 'button', onclick() {
      const { colors: found, wrong } = readList(area.value);
      if (wrong.length) say.textContent = `Not a colour: ${wrong.slice(0, 5).join(', ')}.`;
      else if (found.length < LEAST || found.length > MOST) say.textContent = `A palette holds ${LEAST} to ${MOST} different colours, not ${found.length}.`;
      else { change(found, 0); say.textContent = `${found.length} colours taken over.`; paste.open = false; }
    },
  }, 'Use these'));
  const many = h('input', { type: 'number', min: LEAST, max: MOST, value: 8, 'aria-label': 'How many colours' });
  const file = h('input', { type: 'file', accept: 'image/*', hidden: true, 'aria-label': 'Picture for a palette', onchange() { if (this.files[0]) take(this.files[0]); this.value = ''; } });
  const picture = h('details', {}, h('summary', {}, 'Take it from a picture'), file, h('div', { class: 'tools small' },
    h('label', { class: 'inline' }, many, 'colours of'),
    h('button', { type: 'button', onclick() { if (photo()) take(photo()); else say.textContent = 'Choose a photo first.'; } }, 'the photo'),
    h('button', { type: 'button', onclick: () => file.click() }, 'another picture')));

  async function take(source) {
    say.textContent = 'Looking for its colours.';
    try {
      change(await fromPicture(source, Number(many.value) || 8), 0);
      say.textContent = `${colors.length} colours taken from the picture.`;
    } catch (error) {
      say.textContent = error.sentence ?? String(error);
    }
  }
  function replace(color) {
    if (colors.includes(color) && colors[at] !== color) { say.textContent = `${color} is in the palette already.`; return; }
    change(colors.map((old, other) => other === at ? color : old), at);
  }
  function move(from, to) {
    if (to < 0 || to >= colors.length) return;
    const next = [...colors];
    next.splice(to, 0, ...next.splice(from, 1));
    change(next, to);
  }
  function add() {
    if (colors.length >= MOST) { say.textContent = `A palette holds at most ${MOST} colours.`; return; }
    // the first grey that is not there yet is a start that nobody mistakes for a choice
    const grey = Array.from({ length: 255 }, (_, step) => `#${((step * 97 + 90) % 256).toString(16).padStart(2, '0').repeat(3)}`.toUpperCase()).find(color => !colors.includes(color));
    change([...colors, grey], colors.length);
    code.focus();
    code.select();
  }
  const focusSwatch = () => list.children[at]?.firstChild.focus();
  function change(next, chosen = 0, mine = false) {
    [colors, at] = [next.map(color => hex(color)).filter(Boolean), chosen];
    if (mine || (!same(colors, DEFAULT) && !same(colors, GUIDE))) own = colors;
    say.textContent = '';
    show(mine);
    tell(colors);
  }
  function show(mine = false) {
    const which = mine ? 'own' : same(colors, DEFAULT) ? 'default' : same(colors, GUIDE) ? 'guide' : 'own';
    for (const button of ready.children) press(button, button.dataset.value === which);
    list.replaceChildren(...colors.map((color, index) => h('li', {}, tile(color, index))),
      h('li', {}, h('button', { type: 'button', class: 'add', 'aria-label': 'Add a colour', title: 'Add a colour', onclick: add }, '+')));
    count.textContent = `${colors.length} colours`;
    well.value = colors[at].toLowerCase();
    code.value = colors[at];
    earlier.disabled = at === 0;
    later.disabled = at === colors.length - 1;
  }
  function tile(color, index) {
    const button = h('button', {
      type: 'button', class: 'tile', draggable: 'true', title: color, 'aria-label': `Colour ${index + 1}: ${color}`, 'aria-pressed': String(index === at),
      onclick() { at = index; show(); focusSwatch(); },
      ondragstart(event) { event.dataTransfer.setData('text/x-swatch', String(index)); event.dataTransfer.effectAllowed = 'move'; },
      ondragover(event) { if (event.dataTransfer.types.includes('text/x-swatch')) { event.preventDefault(); event.stopPropagation(); } },
      ondrop(event) {
        const from = event.dataTransfer.getData('text/x-swatch');
        if (from === '') return;
        event.preventDefault();
        event.stopPropagation();
        move(Number(from), index);
      },
    }, swatch(color));
    return button;
  }
  show();
  return {
    element: h('fieldset', {}, h('legend', {}, 'Palette'), h('div', { class: 'row' }, ready, count), list, editor, say, paste, picture),
    get colors() { return colors; },
    get isDefault() { return same(colors, DEFAULT); },
    set colors(next) { change(next, 0); },
  };
}
