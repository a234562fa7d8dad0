// The stage: a picture and the drawing over the same spot, a slider between them, zoom and pan for both.
// Every rectangle is [x, y, width, height] in units of the square working raster.

import { clamp, h, s } from './dom.js';

const MOST = 40; // times the size at which the whole drawing fits
const ALLOWED = new Set(['svg', 'g', 'path', 'rect']);

/** Only what our SVG consists of: shapes in groups with presentation attributes. Anything else, scripts above all, is taken out. */
export function clean(svg) {
  for (const element of [svg, ...svg.querySelectorAll('*')]) {
    if (!ALLOWED.has(element.localName)) { element.remove(); continue; }
    for (const { name } of [...element.attributes])
      if (/^on|href|^style$|^class$/i.test(name)) element.removeAttribute(name);
  }
  return svg;
}

/** The part of the canvas in which something can be drawn: where it meets the photo. */
export function shownPart(svg, photo) {
  const canvas = svg.getAttribute('viewBox').split(/[ ,]+/).map(Number);
  const x = Math.max(canvas[0], photo[0]), y = Math.max(canvas[1], photo[1]);
  const width = Math.min(canvas[0] + canvas[2], photo[0] + photo[2]) - x, height = Math.min(canvas[1] + canvas[3], photo[1] + photo[3]) - y;
  return width > 0 && height > 0 ? [x, y, width, height] : canvas;
}

/** Where the whole photo lies: the square is the vehicle's, so that the photo may reach beyond it, and it beyond the photo. */
export const photoPart = frame => [frame.x0, frame.y0, frame.photo_width * frame.scale, frame.photo_height * frame.scale];

/** The smallest rectangle that holds both. */
export function together([ax, ay, aw, ah], [bx, by, bw, bh]) {
  const x = Math.min(ax, bx), y = Math.min(ay, by);
  return [x, y, Math.max(ax + aw, bx + bw) - x, Math.max(ay + ah, by + bh) - y];
}

/**
 * The camera: which part of the raster an element of `size` [width, height] pixels shows. Pure but for its three numbers.
 * Zoom 1 shows all of `shown`; further out there is `room` to see, and no more.
 */
export function camera(shown, room) {
  const [x0, y0, w0, h0] = shown;
  let zoom = 1, cx = x0 + w0 / 2, cy = y0 + h0 / 2, size = [1, 1];
  const fits = ([, , width, height]) => Math.min(size[0] / width, size[1] / height);
  const least = () => Math.min(1, fits(room) / fits(shown));
  const held = (at, extent, from, whole) => extent >= whole ? from + whole / 2 : clamp(at, from + extent / 2, from + whole - extent / 2);
  const view = () => {
    zoom = Math.max(zoom, least());
    const scale = fits(shown) * zoom, width = size[0] / scale, height = size[1] / scale;
    const [x, y, w, h] = zoom < 1 ? room : shown;
    cx = held(cx, width, x, w);
    cy = held(cy, height, y, h);
    return [cx - width / 2, cy - height / 2, width, height];
  };
  return {
    view,
    get zoom() { return zoom; },
    get least() { return least(); },
    resize(width, height) { size = [width, height]; },
    /** `fx`, `fy`: the point of the element, 0 to 1, that stays where it is. */
    zoomTo(next, fx = 0.5, fy = 0.5) {
      const before = view(), px = before[0] + fx * before[2], py = before[1] + fy * before[3];
      zoom = clamp(next, least(), MOST);
      const after = view();
      cx = px - (fx - 0.5) * after[2];
      cy = py - (fy - 0.5) * after[3];
    },
    /** Shares of what is shown. */
    pan(dx, dy) { const [, , width, height] = view(); cx += dx * width; cy += dy * height; },
    /** Bring a rectangle into view, three times as large as itself. */
    lookAt([x, y, width, height]) {
      zoom = 1;
      const whole = view();
      zoom = clamp(Math.min(whole[2] / width, whole[3] / height) / 3, 1, MOST);
      cx = x + width / 2;
      cy = y + height / 2;
    },
  };
}

/**
 * The stage as an element with its controls. `shown`: what is to be seen of the drawing; `room`: how far one can zoom out.
 * `boxes`: {rect, label, vehicle}; `before`: {name, src, rect} or null.
 */
export function createStage({ drawing, shown, room, before, boxes }) {
  const [x, y, width, height] = shown;
  for (const [name, value] of Object.entries({ x, y, width, height, viewBox: shown.join(' ') })) drawing.setAttribute(name, value);
  drawing.setAttribute('aria-hidden', 'true');
  const scene = s('svg', { class: 'scene', focusable: 'false', 'aria-hidden': 'true' }, drawing);
  // each line twice, the wider one white, so that it shows on every colour; names are HTML, which zooming leaves as large as they are
  const outlines = s('svg', { focusable: 'false' }, ['halo', null].map(halo => boxes.map(({ rect, vehicle }) =>
    s('rect', { class: halo ?? (vehicle ? 'vehicle' : 'gone'), x: rect[0], y: rect[1], width: rect[2], height: rect[3] }))));
  const names = boxes.map(({ rect, label, vehicle }) => ({ rect, tag: h('span', { class: vehicle ? 'what whole' : 'what' }, label) }));
  const marks = h('div', { class: 'marks', 'aria-hidden': 'true' }, outlines, names.map(({ tag }) => tag));
  const picture = h('img', { class: 'picture', alt: '', draggable: 'false' });
  const leftTag = h('span', { class: 'tag left' }), rightTag = h('span', { class: 'tag right' }, 'Drawing');
  const slider = h('input', { type: 'range', min: 0, max: 100, step: 0.5, value: 50, class: 'slider', 'aria-label': 'Share of the photo, percent' });
  const surface = h('div', { class: 'surface', tabindex: 0, role: 'group', 'aria-roledescription': 'drawing', 'aria-label': 'Drawing; plus and minus zoom, arrows move, 0 fits' },
    h('div', { class: 'after paper' }, scene, rightTag), h('div', { class: 'before' }, picture, leftTag), marks);
  const stage = h('div', { class: 'stage', 'data-mode': before ? 'compare' : 'after' }, surface, h('span', { class: 'handle', 'aria-hidden': 'true' }), slider);
  stage.style.aspectRatio = `${width} / ${height}`;
  const readout = h('output', { class: 'zoom' }, '100 %');
  const view = camera(shown, room);
  let shape = before?.rect;

  function draw() {
    const box = view.view(), text = box.map(value => +value.toFixed(4)).join(' ');
    scene.setAttribute('viewBox', text);
    outlines.setAttribute('viewBox', text);
    for (const { rect, tag } of names) Object.assign(tag.style, { left: `${100 * (rect[0] - box[0]) / box[2]}%`, top: `${100 * (rect[1] - box[1]) / box[3]}%` });
    if (shape) Object.assign(picture.style, {
      left: `${100 * (shape[0] - box[0]) / box[2]}%`, top: `${100 * (shape[1] - box[1]) / box[3]}%`,
      width: `${100 * shape[2] / box[2]}%`, height: `${100 * shape[3] / box[3]}%`,
    });
    stage.classList.toggle('zoomed', view.zoom !== 1);
    readout.textContent = `${Math.round(view.zoom * 100)} %`;
  }
  const change = (act, ...values) => { act(...values); draw(); };
  const slide = value => { slider.value = value; stage.style.setProperty('--at', `${slider.value}%`); };
  slider.addEventListener('input', () => slide(slider.value));
  slide(50);
  new ResizeObserver(() => { view.resize(surface.clientWidth || 1, surface.clientHeight || 1); draw(); }).observe(surface);
  listen(surface, stage, view, change, slide);

  function setBefore(next) {
    shape = next.rect;
    picture.src = next.src;
    leftTag.textContent = next.name;
    slider.setAttribute('aria-label', `Share of the ${next.name.toLowerCase()}, percent`);
    draw();
  }
  if (before) setBefore(before);
  const button = (label, text, act) => h('button', { type: 'button', 'aria-label': label, title: label, onclick: () => change(act) }, text);
  const tools = h('div', { class: 'zoomer' },
    button('Zoom out, to the whole photo', '−', () => view.zoomTo(view.zoom / 1.5)), readout,
    button('Zoom in', '+', () => view.zoomTo(view.zoom * 1.5)), button('Fit the whole drawing', 'Fit', () => view.zoomTo(1)));
  return {
    element: stage, tools, drawing, setBefore, marks, picture,
    setMode: mode => { stage.dataset.mode = mode; },
    setBackdrop: name => { scene.parentNode.className = `after ${name}`; },
    /** Bring a rectangle into view, on the picture's side of the slider. */
    lookAt(rect) { change(view.lookAt, rect); slide(70); },
  };
}

/** Mouse, touch, wheel and keys. */
function listen(surface, stage, view, change, slide) {
  const place = event => {
    const box = surface.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const pointers = new Map();
  const spread = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]);
  const slides = () => stage.dataset.mode === 'compare' && view.zoom === 1 && pointers.size === 1;
  surface.addEventListener('pointerdown', event => {
    if (event.button) return;
    pointers.set(event.pointerId, place(event));
    surface.setPointerCapture(event.pointerId);
    stage.classList.add('dragging');
  });
  surface.addEventListener('pointermove', event => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const old = [...pointers.values()], now = place(event);
    pointers.set(event.pointerId, now);
    const next = [...pointers.values()];
    if (slides()) slide(100 * now[0]);
    else if (next.length === 1) change(view.pan, before[0] - now[0], before[1] - now[1]);
    else if (next.length === 2 && spread(old) > 0)
      change(view.zoomTo, view.zoom * spread(next) / spread(old), (next[0][0] + next[1][0]) / 2, (next[0][1] + next[1][1]) / 2);
  });
  for (const end of ['pointerup', 'pointercancel']) surface.addEventListener(end, event => {
    pointers.delete(event.pointerId);
    stage.classList.toggle('dragging', pointers.size > 0);
  });
  // the wheel belongs to the page until the drawing was clicked, so that scrolling past it never gets stuck
  stage.addEventListener('wheel', event => {
    const mine = event.ctrlKey || event.metaKey || (stage.contains(document.activeElement) && (view.zoom > view.least || event.deltaY < 0));
    if (!mine) return;
    event.preventDefault();
    change(view.zoomTo, view.zoom * Math.exp(-event.deltaY / 300), ...place(event));
  }, { passive: false });
  surface.addEventListener('dblclick', event => change(view.zoomTo, view.zoom * 2, ...place(event)));
  surface.addEventListener('keydown', event => {
    const keys = {
      '+': [view.zoomTo, view.zoom * 1.5], '=': [view.zoomTo, view.zoom * 1.5], '-': [view.zoomTo, view.zoom / 1.5], 0: [view.zoomTo, 1],
      ArrowLeft: [view.pan, -0.1, 0], ArrowRight: [view.pan, 0.1, 0], ArrowUp: [view.pan, 0, -0.1], ArrowDown: [view.pan, 0, 0.1],
    };
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey || (event.key.startsWith('Arrow') && view.zoom === 1)) return;
    event.preventDefault();
    change(...act);
  });
}
