// Training a style: pairs, start, how it goes, and what came of it. The server's answer is drawn whole; only the form keeps what was typed.

import { h, number, s } from '/viewer/dom.js';
import * as api from '/page/api.js';
import { problem } from '/page/job.js';

const WORDS = { none: 'No training yet', waiting: 'Waiting for the engines to end', running: 'Training', completed: 'Trained', failed: 'Failed', stopped: 'Stopped', interrupted: 'Interrupted' };
const INSTALLS = { waiting: 'Waiting for the engines to end', running: 'Installing', completed: 'Installed', failed: 'Not installed' };
const PARTS = { check: 'Checking the pairs', prepare: 'Making the pairs ready', step: 'Step' };
const ACTIVE = new Set(['waiting', 'running']);
const SOON = 1500, LATER = 8000; // ms between two looks

/** The fields of the form: key, label, note, attributes of the input. Empty ones are the builder's defaults. */
const FIELDS = [
  ['name', 'Name', 'letters, digits, dots, hyphens', { required: true, maxlength: 64, pattern: '[A-Za-z0-9_][A-Za-z0-9_.\\-]*' }],
  ['trigger', 'Trigger', 'words before every caption and prompt', { maxlength: 200, placeholder: '<flt_vctr_style>' }],
  ['licence', 'Licence', 'stands in the style’s file', { maxlength: 200, placeholder: 'not stated' }],
  ['epochs', 'Epochs', 'each shows every pair once', { type: 'number', min: 1, max: 1000, placeholder: '10' }],
];
const MORE = [
  ['patience', 'Patience', 'epochs without getting better that end it', { type: 'number', min: 1, max: 1000, placeholder: '3' }],
  ['rank', 'Rank', 'of the LoRA', { type: 'number', min: 1, max: 256, placeholder: '32' }],
  ['alpha', 'Alpha', 'of the LoRA', { type: 'number', min: 0.001, step: 'any', placeholder: '16' }],
  ['rate', 'Learning rate', 'AdamW’s', { type: 'number', min: 1e-8, max: 1, step: 'any', placeholder: '0.0001' }],
  ['seed', 'Seed', 'of noise and order', { type: 'number', min: 0, max: 4294967295, placeholder: '42' }],
];

/** `announce(text)` speaks. */
export function createTraining({ announce }) {
  const status = h('div', { class: 'training' }), told = h('div', { class: 'told' });
  const form = createForm(run, value => act(() => api.sendPairs(value, share => { form.sent(share); }), 'The pairs were sent.'));
  const element = h('div', { class: 'job' }, h('div', { class: 'about' }, h('h2', {}, 'Train a style'),
    h('p', { class: 'note' }, 'From pairs of photographs and drawings, on this server’s card. No jobs are drawn meanwhile.')), told, status, form.element);
  let timer = 0, open = false, before = '', asked = null;

  async function look() {
    clearTimeout(timer);
    if (!open) return;
    let wait = LATER;
    try {
      const now = await api.training();
      if (!open) return;
      draw(now);
      if (ACTIVE.has(now.status)) wait = SOON;
    } catch (error) {
      if (open) told.replaceChildren(problem(error));
    }
    clearTimeout(timer);
    timer = setTimeout(() => (document.visibilityState === 'visible' ? look() : undefined), wait);
  }
  addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') look(); });

  /** Ask for something; what is refused is said. */
  async function act(ask, said) {
    told.replaceChildren();
    form.busy(true);
    try { draw(await (await ask()).json()); announce(said); } catch (error) { told.replaceChildren(problem(error)); }
    form.busy(false);
    look();
  }
  function run(options) { act(() => api.startTraining(options), 'The training was asked for.'); }

  const title = h('h2', {}), sentence = h('p', { class: 'soft' }), bar = h('progress', { max: 1, value: 0, 'aria-label': 'Progress of the training' });
  const percent = h('output', { class: 'percent' }), stop = h('button', { type: 'button', onclick: () => act(api.stopTraining, 'It is being stopped.') }, 'Stop');
  const meter = h('div', { class: 'meter' }, bar, percent), tools = h('div', { class: 'tools' }), rest = h('div', { class: 'training' });
  const lines = h('pre', { tabindex: 0, 'aria-label': 'Log of the training' }), log = h('details', { class: 'logs' }, h('summary', {}, 'Log'), lines);
  status.append(h('div', { class: 'heading' }, h('div', {}, title, sentence), tools), meter, rest, log);
  let shown = '';

  function draw(now) {
    const active = ACTIVE.has(now.status), words = now.task === 'install' ? { ...WORDS, ...INSTALLS } : WORDS;
    title.textContent = `${words[now.status]}${now.asked ? `: ${now.asked.name}` : ''}`;
    if (before && before !== title.textContent) announce(title.textContent);
    before = title.textContent;
    sentence.textContent = now.stopping ? 'It is being stopped.' : active ? progressOf(now) : now.sentence;
    meter.hidden = !(active && now.of > 0);
    bar.value = now.of ? now.done / now.of : 0;
    percent.textContent = now.of ? `${Math.floor(100 * now.done / now.of)} %` : '';
    stop.disabled = now.stopping;
    const buttons = active ? [stop] : results(now);
    if (tools.childElementCount !== buttons.length || active !== (tools.firstChild === stop)) tools.replaceChildren(...buttons);
    log.hidden = now.logs.length === 0;
    lines.textContent = now.logs.join('\n');
    const content = JSON.stringify([now.status, now.error, now.problems, now.epochs, now.pictures]);
    if (content !== shown) rest.replaceChildren(...[fault(now), chart(now.epochs), pictures(now.pictures)].filter(Boolean));
    shown = content;
    form.draw(now, active, asked !== now.started_at);
    asked = now.started_at;
  }
  function results(now) {
    const link = (path, text, attributes = {}) => h('a', { class: 'button', href: path, ...attributes }, text);
    return [
      now.report && link(api.trainingPath('report'), 'Report', { target: '_blank' }),
      now.trained && link(api.trainingPath('style'), 'Download the LoRA', { download: '' }),
      now.trained && h('button', { type: 'button', class: 'primary', onclick: () => act(api.installStyle, 'It is being installed.') }, now.installed ? 'Install again' : 'Install'),
    ].filter(Boolean);
  }
  return {
    element,
    open() { open = true; look(); },
    close() { open = false; clearTimeout(timer); },
  };
}

function progressOf(now) {
  if (!now.part || now.status === 'waiting') return now.sentence;
  const loss = now.part === 'step' && now.loss !== null ? `, loss ${number(now.loss)}` : '';
  return `${PARTS[now.part]} ${now.done} of ${now.of}${loss}. ${now.part === 'step' ? '' : now.sentence}`;
}

function fault(now) {
  if (!now.error) return null;
  const list = now.problems.length > 0 && h('ul', { class: 'soft' }, now.problems.map(one => h('li', {}, one)));
  return h('div', { class: 'problem', role: 'alert' }, h('div', {}, h('p', {}, now.error), list));
}

/** Both losses over the epochs, and their numbers. */
function chart(epochs) {
  if (!epochs.length) return null;
  const values = epochs.flatMap(one => [one.loss, one.judged]), low = Math.min(...values), high = Math.max(...values), last = epochs.at(-1);
  const at = (one, key) => `${(600 * (one.epoch - epochs[0].epoch) / (last.epoch - epochs[0].epoch || 1)).toFixed(1)},${(110 - 100 * (one[key] - low) / (high - low || 1)).toFixed(1)}`;
  const line = (key, name) => s('polyline', { class: name, points: epochs.map(one => at(one, key)).join(' ') });
  const best = epochs.reduce((a, b) => (b.judged < a.judged ? b : a));
  return h('figure', { class: 'losses' }, s('svg', { viewBox: '0 0 600 120', preserveAspectRatio: 'none', role: 'img', 'aria-label': 'Loss over the epochs' }, line('loss', 'taught'), line('judged', 'judged')),
    h('figcaption', { class: 'note' }, `Epoch ${last.epoch}: loss ${number(last.loss)} (dashed), of the pairs held back ${number(last.judged)}; the best was epoch ${best.epoch} with ${number(best.judged)}. ${number(last.seconds)} s a step.`));
}

/** Each pair that was held back: without the style, and as it was drawn last. */
function pictures(all) {
  const pairs = Map.groupBy(all, one => one.pair);
  if (!pairs.size) return null;
  const figure = one => h('figure', {}, h('img', { src: api.trainingPath(`pictures/${one.name}`), alt: '', width: 256, height: 256, loading: 'lazy' }),
    h('figcaption', { class: 'note' }, `${one.pair}, ${one.epoch ? `epoch ${one.epoch}` : 'without the style'}`));
  return h('div', { class: 'validation' }, [...pairs.values()].flatMap(them => (them.length > 1 ? [them[0], them.at(-1)] : them).map(figure)));
}

/** Pairs and options. `run(options)`: start; `send(file)`: a zip of pairs. */
function createForm(run, send) {
  const inputs = {};
  const field = ([key, label, note, attributes]) => {
    inputs[key] = h('input', { id: `train-${key}`, type: 'text', 'aria-describedby': `train-${key}-note`, ...attributes });
    return h('div', { class: 'field' }, h('label', { for: `train-${key}` }, label), inputs[key], h('span', { class: 'note', id: `train-${key}-note` }, note));
  };
  const box = (key, label, on = false) => {
    inputs[key] = h('input', { type: 'checkbox', checked: on });
    return h('label', { class: 'check' }, inputs[key], label);
  };
  const file = h('input', { id: 'train-pairs', type: 'file', accept: '.zip,application/zip', onchange() { if (file.files[0]) send(file.files[0]); file.value = ''; } });
  const pairs = h('p', { class: 'note', role: 'status' }), lacking = h('div', { class: 'problem', hidden: true });
  const start = h('button', { type: 'submit', class: 'primary' }, 'Start');
  const element = h('form', {
    class: 'panel train', 'aria-label': 'Training', onsubmit(event) {
      event.preventDefault();
      const options = Object.fromEntries(Object.entries(inputs).filter(([, it]) => it.type !== 'checkbox' && it.value.trim() !== '').map(([key, it]) => [key, it.type === 'number' ? Number(it.value) : it.value.trim()]));
      run({ ...options, ...(inputs.mirror.checked ? {} : { mirror: false }), anew: inputs.anew.checked });
    },
  }, h('fieldset', {}, h('legend', {}, 'Pairs'), h('div', { class: 'field' }, h('label', { for: 'train-pairs' }, 'A zip of pairs'), file,
    h('span', { class: 'note' }, 'car1.photo.jpg beside car1.svg, or the folders photos and drawings; captions (.txt) if you like. About 50 pairs make a style, 5 are the least.')), pairs),
  h('fieldset', {}, h('legend', {}, 'Options'), lacking, h('div', { class: 'row two' }, FIELDS.map(field)),
    h('details', {}, h('summary', {}, 'More'), h('div', { class: 'two' }, MORE.map(field)), box('mirror', 'Show each pair mirrored half of the time', true))),
  h('div', { class: 'send' }, box('anew', 'Forget what was trained under this name'), start));
  let busy = false, hindered = true;

  function settle() {
    start.disabled = busy || hindered;
    file.disabled = busy;
  }
  return {
    element,
    busy(on) { busy = on; settle(); },
    sent(share) { pairs.textContent = share < 1 ? `Sending ${Math.round(100 * share)} %` : 'Unpacking'; },
    draw(now, active, fresh) {
      const kinds = Object.entries(now.pairs).map(([kind, count]) => `${count} ${kind}`).join(', ');
      if (!busy) pairs.textContent = kinds ? `On the server: ${kinds}.` : 'None were sent yet.';
      hindered = active || now.lacking.length > 0 || !kinds;
      lacking.hidden = !now.lacking.length;
      lacking.replaceChildren(h('div', {}, h('p', {}, 'This server cannot train yet.'), h('ul', { class: 'soft' }, now.lacking.map(one => h('li', {}, one)))));
      start.textContent = ['stopped', 'interrupted', 'failed'].includes(now.status) && now.epochs.length ? 'Go on' : 'Start';
      settle();
      if (!fresh || !now.asked) return;
      for (const [key, it] of Object.entries(inputs)) {
        if (it.type === 'checkbox') it.checked = key === 'mirror' && now.asked.mirror !== false;
        else it.value = now.asked[key] ?? '';
      }
    },
  };
}
