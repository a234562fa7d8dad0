// The page: joins photo, palette, settings, job and history. The address says which job is open: #job=ID.

import { coded, h } from '/viewer/dom.js';
import * as api from '/page/api.js';
import { createHistory } from '/page/history.js';
import { createJob, problem } from '/page/job.js';
import { createOptions } from '/page/options.js';
import { createPalette } from '/page/palette.js';
import { createPhoto } from '/page/photo.js';

const $ = id => document.getElementById(id);
const announce = text => { $('announce').textContent = text; };
const jobInAddress = () => /^#job=([\w.-]+)$/.exec(location.hash)?.[1] ?? null;
const store = { get: name => JSON.parse(localStorage.getItem(name) ?? 'null'), set: (name, value) => localStorage.setItem(name, JSON.stringify(value)) };

let file = null, attempt = null;

const photo = createPhoto({ choose: chosen => take(chosen), sample: useSample, clear: () => { take(null); photo.focus(); } });
const palette = createPalette({ fromPicture: api.paletteOf, photo: () => file, tell: () => { options.backgrounds(); keep(); } });
const options = createOptions(() => palette.colors);
const job = createJob({ announce, changed: () => history.refresh(), reuse });
const history = createHistory($('history'), { deleted: id => { if (id === jobInAddress()) location.hash = ''; } });

const send = h('button', { type: 'submit', class: 'primary' }, 'Draw');
const told = h('div', { class: 'told' });
$('panel').append(palette.element, ...options.elements, h('div', { class: 'send' }, told, send));
$('panel').addEventListener('submit', event => { event.preventDefault(); draw(); });
$('panel').addEventListener('change', () => keep());
$('panel').addEventListener('toggle', event => { if (event.target.open && event.target.classList.contains('group')) event.target.scrollIntoView({ block: 'nearest' }); }, true);

function keep() {
  attempt = null;
  store.set('settings', { palette: palette.colors, options: options.read() });
}

function show(part) {
  if ($('work').firstChild !== part) $('work').replaceChildren(part);
}

/** A chosen photo replaces whatever is shown. */
function take(chosen, box = null) {
  file = chosen;
  attempt = null;
  told.replaceChildren();
  photo.show(chosen, box);
  if (jobInAddress()) location.hash = ''; else show(photo.element);
  if (chosen) announce(`${chosen.name} is chosen.`);
}

async function useSample() {
  try {
    const [photo, ready] = await Promise.all([api.sample(), api.server()]);
    const finds = !ready || ready.engine === 'neural' || 'isnet' in ready.models;
    take(photo, finds ? null : api.sampleBox);
    if (!finds) told.replaceChildren(h('p', { class: 'note' }, 'This engine has no network that finds vehicles, so the sample comes with its box.'));
  } catch (error) { complain(error); }
}

function complain(error) {
  told.replaceChildren(problem(error));
}

async function draw() {
  if (send.disabled) return;
  told.replaceChildren();
  if (!file) { complain('INVALID_INPUT: There is no photo yet: choose, drop or paste one.'); photo.focus(); return; }
  const wrong = options.wrong();
  if (wrong) {
    complain(`INVALID_INPUT: ${wrong[1]}`);
    wrong[0].closest('details').open = true;
    wrong[0].focus();
    return;
  }
  const keys = options.read();
  if (!keys.palette_name && !(keys.job_preset && palette.isDefault)) keys.palette_hex_list = palette.colors;  // the preset may bring its own
  if (!keys.outputs.includes('svg')) keys.outputs = ['svg', ...keys.outputs];  // the page itself shows it
  if (photo.box) keys.vehicle_box = photo.box;
  send.disabled = true;
  // the same key again after a broken connection, so that the photo is not drawn twice; a new one once anything was changed
  attempt ??= { key: api.randomKey(), box: String(photo.box) };
  if (attempt.box !== String(photo.box)) attempt = { key: api.randomKey(), box: String(photo.box) };
  try {
    const answer = await api.submit(file, keys, attempt.key, share => { send.textContent = share < 1 ? `Sending ${Math.round(100 * share)} %` : 'Sending'; });
    attempt = null;
    location.hash = `job=${answer.job_id}`;
    history.refresh();
    announce('The job was sent.');
  } catch (error) {
    complain(error);
  } finally {
    send.disabled = false;
    send.textContent = 'Draw';
  }
}

/** A job's photo and, where the server tells them, its settings become those of the next one. */
async function reuse(old) {
  try {
    const data = await api.blob(api.inputPath(old.job_id));
    const kind = data.type.split('/')[1] ?? 'jpg';
    if (old.settings?.palette_hex_list) palette.colors = [old.settings.palette_hex_list].flat().join(',').split(',');
    else if (old.result?.palette) palette.colors = old.result.palette;
    if (old.settings) options.write({ ...old.settings, outputs: undefined });
    take(new File([data], `photo.${kind}`, { type: data.type }), old.settings?.vehicle_box ?? null);
    $('work').focus();
  } catch (error) {
    complain(error);
  }
}

function route() {
  const id = jobInAddress();
  history.open(id);
  if (id) {
    show(job.element);
    job.open(id);
    const top = $('work').getBoundingClientRect().top;
    if (top < 0 || top > innerHeight / 2) $('work').scrollIntoView();
  } else {
    job.close();
    show(photo.element);
  }
}
addEventListener('hashchange', route);
// links within the page leave the address alone, which holds the job
for (const link of document.querySelectorAll('a[href="#history"], a[href="#work"]')) link.addEventListener('click', event => {
  event.preventDefault();
  const target = $(link.hash.slice(1));
  target.scrollIntoView();
  target.focus({ preventScroll: true });
});

// a picture can be dropped or pasted anywhere
const pictured = transfer => [...(transfer?.files ?? [])][0];
addEventListener('dragover', event => { if (event.dataTransfer?.types.includes('Files')) { event.preventDefault(); document.body.classList.add('over'); } });
addEventListener('dragleave', event => { if (!event.relatedTarget) document.body.classList.remove('over'); });
addEventListener('drop', event => {
  document.body.classList.remove('over');
  if (!pictured(event.dataTransfer)) return;
  event.preventDefault();
  take(pictured(event.dataTransfer));
});
addEventListener('paste', event => { if (pictured(event.clipboardData)) { event.preventDefault(); take(pictured(event.clipboardData)); } });

const themes = ['auto', 'light', 'dark'];
const theme = h('button', { type: 'button', class: 'plain', onclick() { dress(themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % 3]); } });
function dress(name) {
  document.documentElement.dataset.theme = name;
  localStorage.setItem('theme', name);
  theme.replaceChildren(h('span', { class: 'wide' }, 'Theme: '), name);
}
dress(document.documentElement.dataset.theme);
$('theme').append(theme);

async function greet() {
  const words = $('server');
  try {
    const ready = await api.server();
    words.textContent = ready ? '' : 'The server is warming up; jobs can be sent already.';
    if (ready?.engine) options.engine = ready.engine;
    if (ready?.engine) words.textContent = `${ready.engine} engine`;
    if (!ready) setTimeout(greet, 2000);
  } catch (error) {
    if (error.status === 401) { words.replaceChildren(h('a', { href: '/' }, 'Sign in')); return; }
    words.textContent = coded(error.sentence ?? String(error)).sentence;
    setTimeout(greet, 4000);
  }
}

const saved = store.get('settings');
if (saved) { palette.colors = saved.palette; options.write(saved.options); keep(); }
route();
greet();
history.refresh();
// jobs of other tabs and of the API
setInterval(() => { if (document.visibilityState === 'visible') history.refresh(); }, 8000);
document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') history.refresh(); });
