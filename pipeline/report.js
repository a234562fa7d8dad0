(() => {
  'use strict';
  const root = document.documentElement;
  root.classList.add('js');
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // before and after: the range input is the handle, so that keyboard and touch come with it
  for (const compare of all('.compare')) {
    const input = compare.querySelector('input');
    const show = () => compare.style.setProperty('--at', input.value + '%');
    input.addEventListener('input', show);
    show();
  }

  const stage = document.querySelector('.drawing');
  const svg = stage.querySelector('svg');
  const [x0, y0, w0, h0] = svg.getAttribute('viewBox').split(/[ ,]+/).map(Number);
  let x = x0, y = y0, zoom = 1;
  const clamp = (v, low, high) => Math.min(high, Math.max(low, v));

  function apply() {
    const w = w0 / zoom, h = h0 / zoom;
    x = clamp(x, x0, x0 + w0 - w);
    y = clamp(y, y0, y0 + h0 - h);
    svg.setAttribute('viewBox', [x, y, w, h].join(' '));
    stage.classList.toggle('zoomed', zoom > 1);
    document.querySelector('#r-zoom').textContent = Math.round(zoom * 100) + ' %';
  }
  // fx, fy: the point of the stage (0..1) that stays where it is
  function zoomTo(next, fx = 0.5, fy = 0.5) {
    next = clamp(next, 1, 40);
    x += fx * w0 * (1 / zoom - 1 / next);
    y += fy * h0 * (1 / zoom - 1 / next);
    zoom = next;
    apply();
  }
  function pan(dx, dy) { x += dx * w0 / zoom; y += dy * h0 / zoom; apply(); }
  function place(event) {
    const box = stage.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  const pointers = new Map();
  const spread = () => { const [a, b] = [...pointers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
  stage.addEventListener('pointerdown', event => {
    pointers.set(event.pointerId, place(event));
    stage.setPointerCapture(event.pointerId);
    stage.classList.add('dragging');
  });
  stage.addEventListener('pointermove', event => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = place(event), old = pointers.size === 2 ? spread() : 0;
    pointers.set(event.pointerId, now);
    if (pointers.size === 1) pan(before[0] - now[0], before[1] - now[1]);
    else if (pointers.size === 2 && old > 0) {
      const [a, b] = [...pointers.values()];
      zoomTo(zoom * spread() / old, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
    }
  });
  for (const end of ['pointerup', 'pointercancel']) stage.addEventListener(end, event => {
    pointers.delete(event.pointerId);
    stage.classList.toggle('dragging', pointers.size > 0);
  });
  stage.addEventListener('wheel', event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomTo(zoom * Math.exp(-event.deltaY / 300), ...place(event));
  }, { passive: false });
  stage.addEventListener('dblclick', event => zoomTo(zoom * 2, ...place(event)));
  stage.addEventListener('keydown', event => {
    const step = 0.1;
    const keys = {
      '+': () => zoomTo(zoom * 1.5), '=': () => zoomTo(zoom * 1.5), '-': () => zoomTo(zoom / 1.5), '0': () => zoomTo(1),
      ArrowLeft: () => pan(-step, 0), ArrowRight: () => pan(step, 0), ArrowUp: () => pan(0, -step), ArrowDown: () => pan(0, step),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith('Arrow') && zoom === 1) return;
    event.preventDefault();
    keys[event.key]();
  });
  const factor = { in: 1.5, out: 1 / 1.5, reset: 0 };
  for (const button of all('[data-zoom]')) button.addEventListener('click', () => zoomTo(zoom * factor[button.dataset.zoom]));

  // layers and colours: a pressed button is a visible group
  const press = (button, on) => button.setAttribute('aria-pressed', String(on));
  const pressed = button => button.getAttribute('aria-pressed') === 'true';
  for (const button of all('[data-layer]')) button.addEventListener('click', () => {
    press(button, !pressed(button));
    svg.querySelector('#' + button.dataset.layer).style.display = pressed(button) ? '' : 'none';
  });
  const swatches = all('.colors button');
  function showColors() {
    for (const button of swatches)
      for (const group of all('g[data-color="' + button.dataset.color + '"]', svg)) group.style.display = pressed(button) ? '' : 'none';
  }
  for (const button of swatches) {
    button.addEventListener('click', () => { press(button, !pressed(button)); showColors(); });
    button.addEventListener('dblclick', () => { for (const other of swatches) press(other, other === button); showColors(); });
  }
  for (const button of all('[data-colors]')) button.addEventListener('click', () => {
    for (const other of swatches) press(other, button.dataset.colors === 'all');
    showColors();
  });
  for (const button of all('[data-backdrop]')) button.addEventListener('click', () => {
    for (const other of all('[data-backdrop]')) { press(other, other === button); stage.classList.toggle(other.dataset.backdrop, other === button); }
  });
  const printed = document.querySelector('[data-printed]');
  printed.addEventListener('click', () => { press(printed, !pressed(printed)); stage.classList.toggle('printed', pressed(printed)); });
})();
