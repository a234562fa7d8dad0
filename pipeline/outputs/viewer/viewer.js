// The viewer of a finished job, the same in the report and in the page.

import { bytes, choice, coded, duration, h, number, press, pressed, s, swatch, toggle } from './dom.js';
import { clean, createStage, photoPart, shownPart, together } from './stage.js';
import { PARTS, PHASES, PICTURES, QUALITY, WARNINGS } from './texts.js';

/**
 * The viewer as an element.
 * `result`: the job's result. `drawing`: its SVG as an element. `pictures`: {name, src, rect} in units of the working raster, the photo first
 * where there is one. `settings`: what the job asked for, or null. `extra`: elements that stand above the figures (the page's downloads).
 */
export function createViewer({ result, drawing, pictures, settings = null, extra = [] }) {
  const photo = photoPart(result.frame);
  const inRaster = ([x0, y0, x1, y1]) => [photo[0] + x0 * photo[2], photo[1] + y0 * photo[3], (x1 - x0) * photo[2], (y1 - y0) * photo[3]];
  const boxes = result.removed.map(item => ({ rect: inRaster(item.box), label: item.label, score: item.score }));
  const named = pictures.map(picture => ({ ...picture, key: picture.name, name: PICTURES[picture.name]?.[0] ?? picture.name }));
  clean(drawing);
  const paths = countPaths(drawing);
  const shown = shownPart(drawing, photo);
  const stage = createStage({
    drawing, shown, room: together(shown, photo), before: named[0] ?? null,
    boxes: [{ rect: inRaster(result.vehicle_box), label: 'vehicle', vehicle: true }, ...boxes],
  });
  return h('div', { class: 'viewer' },
    h('div', { class: 'bench' },
      h('div', { class: 'table' }, h('h2', { class: 'sr' }, 'Photo and drawing'), stage.element, h('div', { class: 'under' }, modes(stage, named), stage.tools),
        h('p', { class: 'note' }, 'Drag the line to compare. Ctrl and wheel, pinch, double-click or + and − zoom, out to the whole photo; drag or arrow keys move.')),
      h('div', { class: 'side' }, layers(stage, boxes), h('div', {}, parts(stage.drawing), colors(result, stage.drawing, paths)))),
    warnings(result.warnings), extra,
    h('div', { class: 'pair' }, removed(boxes, stage), timings(result.timings_ms)),
    quality(result), strip(named, stage), facts(result, settings));
}

function section(title, ...body) {
  return h('section', {}, h('h2', {}, title), body);
}

function countPaths(drawing) {
  const paths = new Map();
  for (const group of drawing.querySelectorAll('g[data-color]')) {
    const color = group.getAttribute('data-color').toUpperCase();
    paths.set(color, (paths.get(color) ?? 0) + group.children.length);
  }
  return paths;
}

function modes(stage, pictures) {
  if (!pictures.length) return h('span');
  return choice('What is shown', [['compare', 'Compare'], ['after', 'Drawing'], ['before', pictures[0].name]], 'compare', stage.setMode);
}

function layers(stage, boxes) {
  const show = selector => on => display(stage.drawing.querySelectorAll(selector), on);
  const marks = on => { stage.marks.style.display = on ? '' : 'none'; };
  marks(false);
  stage.drawing.classList.add('printed');
  return h('div', {},
    h('h3', {}, 'Layers'),
    h('div', { class: 'tools' },
      toggle('Fills', true, show('#fills'), { 'data-layer': 'fills' }),
      toggle('Lines', true, show('#lines'), { 'data-layer': 'lines' }),
      toggle(boxes.length ? `Removed (${boxes.length})` : 'Vehicle box', false, marks, { 'data-layer': 'marks' }),
      toggle('Scale lines', true, on => stage.drawing.classList.toggle('printed', on), { title: 'Off: lines stay as wide as they are when zooming' })),
    h('h3', {}, 'Backdrop'),
    choice('Backdrop', [['paper', 'Paper'], ['checks', 'Checks'], ['night', 'Dark']], 'paper', stage.setBackdrop));
}

/**
 * Switches of one `kind` in a list, each with a button that shows it alone, and two for all. `items`: {value, name, label}, where `name`
 * is spoken and `label` seen; `apply(value, on)` shows or hides.
 */
function switches(kind, title, items, apply) {
  const buttons = items.map(({ value, label }) => h('button', {
    type: 'button', class: `switch ${kind}`, 'aria-pressed': 'true', [`data-${kind}`]: value, onclick() { turn(this, !pressed(this)); },
  }, label));
  const turn = (button, on) => { press(button, on); apply(button.getAttribute(`data-${kind}`), on); };
  const turnAll = wanted => { for (const button of buttons) turn(button, wanted(button)); };
  const only = (button, name) => h('button', { type: 'button', class: 'only', 'aria-label': `Only ${name}`, onclick: () => turnAll(other => other === button) }, 'only');
  const all = (label, spoken, on) => h('button', { type: 'button', [`data-${kind}s`]: label.toLowerCase(), 'aria-label': spoken, onclick: () => turnAll(() => on) }, label);
  const [noun] = title.toLowerCase().split(',');
  return h('div', { class: 'switched', role: 'group', 'aria-label': title },
    h('div', { class: 'row' }, h('h3', {}, title), h('span', { class: 'tools small' }, all('All', `All ${noun}`, true), all('None', `None of the ${noun}`, false))),
    h('ul', { class: `switches ${kind}s` }, buttons.map((button, index) => h('li', {}, button, only(button, items[index].name)))));
}

const display = (shapes, on) => { for (const shape of shapes) shape.style.display = on ? '' : 'none'; };
const count = paths => h('span', {}, number(paths), h('span', { class: 'sr' }, ' paths'));

/** The fills by the part of the vehicle that they belong to, '' for none; empty where the drawing does not tell parts apart. */
function shapesByPart(drawing) {
  const shapes = new Map();
  if (!drawing.querySelector('#fills [data-part]')) return shapes;
  for (const shape of drawing.querySelectorAll('#fills :is(path, rect)')) {
    const part = shape.getAttribute('data-part') ?? '';
    if (!shapes.has(part)) shapes.set(part, []);
    shapes.get(part).push(shape);
  }
  return shapes;
}

/** Parts hide shapes and colours hide groups of them, so that a shape shows while both its part and its colour are on. */
function parts(drawing) {
  const shapes = shapesByPart(drawing);
  if (!shapes.size) return null;
  const known = Object.keys(PARTS).filter(part => shapes.has(part));
  const items = [...new Set([...known, ...shapes.keys()])].map(part => {
    const name = PARTS[part] ?? part;
    return { value: part, name, label: `${name} (${number(shapes.get(part).length)})` };
  });
  return switches('part', 'Parts', items, (part, on) => display(shapes.get(part), on));
}

function colors(result, drawing, paths) {
  const used = result.palette.filter(color => paths.get(color.toUpperCase()));
  const items = used.map(color => ({ value: color, name: color, label: [swatch(color), color, count(paths.get(color.toUpperCase()))] }));
  const unused = result.palette.filter(color => !paths.get(color.toUpperCase()));
  return [
    switches('color', 'Colours, paths', items, (color, on) => display(drawing.querySelectorAll(`g[data-color="${color}" i]`), on)),
    unused.length > 0 && h('p', { class: 'note unused' }, 'Not used: ', unused.map(color => h('span', { title: color, role: 'img', 'aria-label': color }, swatch(color)))),
  ];
}

function warnings(list) {
  if (!list.length) return null;
  return h('ul', { class: 'warnings', 'aria-label': 'Warnings' }, list.map(text => {
    const { code, sentence } = coded(text);
    return h('li', {}, code && h('code', {}, code), h('div', {}, sentence, WARNINGS[code] && h('p', {}, WARNINGS[code])));
  }));
}

function removed(boxes, stage) {
  const items = boxes.map(({ rect, label, score }) => h('li', {}, h('span', {}, label), h('span', { class: 'soft' }, `score ${number(score)}`),
    h('button', {
      type: 'button', 'aria-label': `Show where ${label} was`, onclick() {
        const button = stage.element.closest('.viewer').querySelector('[data-layer=marks]');
        if (!pressed(button)) button.click();
        if (stage.element.dataset.mode === 'after') stage.element.parentNode.querySelector('[data-value=compare]')?.click();
        stage.lookAt(rect);
        stage.element.scrollIntoView({ block: 'center' });
      },
    }, 'show')));
  return section('Removed from the vehicle', items.length ? h('ol', { class: 'list' }, items) : h('p', { class: 'note' }, 'Nothing was removed.'));
}

function timings(measured) {
  const known = Object.keys(PHASES).filter(phase => measured[phase]);
  const total = known.reduce((sum, phase) => sum + measured[phase], 0);
  const bar = h('div', { class: 'bar', 'aria-hidden': 'true' }, known.map(phase => {
    const part = h('i', { 'data-phase': phase });
    part.style.flexGrow = measured[phase];
    return part;
  }));
  return section('Time by phase', bar, h('ul', { class: 'legend' },
    known.map(phase => h('li', { title: PHASES[phase][1] }, h('i', { 'data-phase': phase }), PHASES[phase][0], h('b', {}, duration(measured[phase])))),
    h('li', { class: 'sum' }, 'Together', h('b', {}, duration(total)))));
}

const SHOWN = {
  number: value => [number(value)],
  percent: value => [value > 0 && value < 5e-5 ? '< 0.01' : number(Math.round(value * 1e4) / 100), h('small', {}, ' %')],
  bytes: value => { const [amount, unit] = bytes(value).split(' '); return [amount, h('small', {}, ` ${unit}`)]; },
};

function quality(result) {
  const cells = Object.entries(QUALITY).filter(([key]) => key in result.quality).map(([key, [name, meaning, kind, fault]]) => {
    const value = result.quality[key];
    const shown = value === null ? ['–', h('small', {}, ' not measured')] : SHOWN[kind](value);
    const of = key === 'colors_used' ? h('small', {}, ` of ${result.palette.length}`) : null;
    return h('div', { class: fault?.(value) ? 'fault' : null }, h('dt', {}, name), h('dd', {}, shown, of, h('p', {}, meaning)));
  });
  return section('Quality', h('dl', { class: 'figures' }, cells));
}

function strip(pictures, stage) {
  if (pictures.length < 2) return null;
  const buttons = pictures.map(picture => h('button', {
    type: 'button', 'aria-pressed': String(picture === pictures[0]), onclick() {
      for (const other of buttons) press(other, other === this);
      stage.setBefore(picture);
      const mode = stage.element.parentNode.querySelector('[data-value=before]');
      mode.textContent = picture.name;
      if (stage.element.dataset.mode === 'after') stage.element.parentNode.querySelector('[data-value=compare]').click();
      stage.element.scrollIntoView({ block: 'nearest' });
    },
  }, h('img', { alt: '', src: picture.src, loading: 'lazy' }), h('b', {}, picture.name), h('span', {}, PICTURES[picture.key]?.[1] ?? '')));
  return section('Steps on the way', h('p', { class: 'note' }, 'Choose one to compare the drawing with it.'), h('div', { class: 'strip' }, buttons));
}

/** A setting as text: lists with commas, boxes and numbers plainly, nested ones as “name value”. */
function plain(value) {
  if (Array.isArray(value)) return value.length ? value.map(plain).join(', ') : 'nothing';
  if (value !== null && typeof value === 'object') return Object.entries(value).map(([name, part]) => `${name} ${plain(part)}`).join(', ');
  return Number.isInteger(value) ? number(value) : String(value);
}

/** Settings that the result tells itself. */
const TOLD = new Set(['palette_hex_list', 'seed', 'schema']);
const title = key => key[0].toUpperCase() + key.slice(1).replaceAll('_', ' ');

function facts(result, settings) {
  const { frame, draw, versions } = result;
  const rows = {
    Job: result.job_id, Engine: result.engine, Seed: String(result.seed),
    ...Object.fromEntries(Object.entries(settings ?? {}).filter(([key]) => !TOLD.has(key)).map(([key, value]) => [title(key), plain(value)])),
    'Working raster': `${frame.width} × ${frame.height}`,
    'Photo to raster': `× ${number(frame.scale)}, from ${number(frame.x0)}, ${number(frame.y0)}`,
    'Peak video memory': result.peak_vram_mb ? `${number(result.peak_vram_mb)} MB` : null,
    ...Object.fromEntries(Object.entries(draw).filter(([key]) => key !== 'seed').map(([key, value]) => [`Drawn with ${key.replaceAll('_', ' ')}`, value])),
    Worker: versions.worker, 'Result schema': String(result.schema),
    ...Object.fromEntries(Object.entries(versions.models).map(([name, revision]) => [`Model: ${name}`, revision])),
  };
  const shown = Object.entries(rows).filter(([, value]) => value !== null && value !== undefined);
  return section('Settings and versions', h('dl', { class: 'facts' },
    shown.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, typeof value === 'number' ? number(value) : value)))), raw(result));
}

function raw(result) {
  const secret = ([key]) => key.endsWith('_url') || key.endsWith('_path') || key === 'intermediates';
  const text = JSON.stringify(Object.fromEntries(Object.entries(result).filter(entry => !secret(entry))), null, 2);
  return h('details', {}, h('summary', {}, 'The whole result as JSON'), h('pre', { tabindex: 0 }, text));
}

/** An SVG file's text as an element of this page, cleaned before the page ever holds it. Throws when it is not an SVG. */
export function parseDrawing(text) {
  const parsed = new DOMParser().parseFromString(text, 'image/svg+xml').documentElement;
  if (parsed.localName !== 'svg' || parsed.namespaceURI !== s('svg').namespaceURI) throw new Error('The drawing is not an SVG.');
  return document.importNode(clean(parsed), true);
}
