// One job: its place in the queue, its progress, and what became of it.

import { coded, duration, h } from '/viewer/dom.js';
import { photoPart } from '/viewer/stage.js';
import { ERRORS, PHASES } from '/viewer/texts.js';
import { createViewer, parseDrawing } from '/viewer/viewer.js';
import * as api from '/page/api.js';

const FILES = [['svg', 'SVG', 'illustration.svg'], ['png', 'PNG', 'preview.png'], ['pdf', 'PDF', 'illustration.pdf'], ['report', 'Report', 'report.html']];
const WORDS = { pending: 'Waiting', processing: 'Drawing', completed: 'Done', failed: 'Failed', cancelled: 'Cancelled' };

/** The tab's title, so that a tab in the background tells how far it is. */
const entitle = told => { document.title = told ? `${told} · Vehicle to vector` : 'Vehicle to vector'; };

/** What went wrong, and what to do about it. `error`: a Refusal, or a job's "CODE: sentence". */
export function problem(error, ...actions) {
  const { code, sentence } = typeof error === 'string' ? coded(error) : { code: error.code, sentence: error.sentence ?? String(error) };
  return h('div', { class: 'problem', role: 'alert' }, code && h('code', {}, code), h('div', {}, h('p', {}, sentence),
    code === 'UNAUTHORIZED' ? h('p', { class: 'advice' }, h('a', { href: '/' }, 'Sign in again.')) : ERRORS[code] && h('p', { class: 'advice' }, ERRORS[code]), actions.length > 0 && h('div', { class: 'tools' }, actions)));
}

/** `announce(text)` speaks; `changed()`: the list of jobs is not what it was; `reuse(job)`: its photo and settings are wanted again. */
export function createJob({ announce, changed, reuse }) {
  const element = h('div', { class: 'job' });
  let watch = new AbortController();

  function close() {
    watch.abort();
    watch = new AbortController();
    element.replaceChildren();
    entitle('');
    return watch.signal;
  }

  async function open(id) {
    const signal = close();
    const live = createProgress(id, announce, changed);
    let status = '';
    element.replaceChildren(h('p', { class: 'soft' }, 'Opening the job.'));
    try {
      await api.follow(id, signal, {
        job(job) {
          if (signal.aborted) return;
          live.lost(null);
          if (job.status !== status) changed();
          if (api.OVER.has(job.status)) { if (!api.OVER.has(status)) finish(job, signal); }
          else {
            if (!live.element.isConnected) element.replaceChildren(live.element);
            live.job(job);
          }
          if (status && status !== job.status) announce(`${WORDS[job.status]}.`);
          status = job.status;
          if (status !== 'processing') entitle(WORDS[status]);
        },
        progress: live.progress, log: live.log, lost: live.lost,
      });
    } catch (error) {
      if (!signal.aborted) element.replaceChildren(problem(error));
    }
  }

  async function finish(job, signal) {
    const again = h('button', { type: 'button', onclick: () => reuse(job) }, 'Use photo and settings again');
    if (job.status !== 'completed') {
      const said = job.error ? String(job.error) : 'CANCELLED: The job was cancelled.';
      element.replaceChildren(heading(job), problem(said, again), photoOf(job.job_id), logs(job.logs ?? []));
      return;
    }
    try {
      const drawing = await drawingOf(job), photo = api.inputPath(job.job_id);
      if (signal.aborted) return;
      element.replaceChildren(heading(job, warned(job), downloads(job), again), shown(job, drawing, photo), logs(job.logs ?? []));
    } catch (error) {
      if (!signal.aborted) element.replaceChildren(heading(job, downloads(job), again), problem(error));
    }
  }
  return { element, open, close };
}

/** The photo of a job that has no drawing, or not yet; it goes where the browser cannot show it. */
function photoOf(id) {
  const photo = h('img', { alt: 'The photo of this job', class: 'waiting', loading: 'lazy', src: api.inputPath(id) });
  photo.addEventListener('error', () => photo.remove());
  return photo;
}

function heading(job, ...beside) {
  const from = job.started_at ?? job.created_at;
  const took = job.result?.processing_time_ms ?? (job.finished_at && from ? new Date(job.finished_at) - new Date(from) : null);
  return h('div', { class: 'heading' }, h('div', {}, h('h2', {}, WORDS[job.status] ?? job.status, took !== null && h('span', { class: 'soft' }, ` in ${duration(took)}`)),
    h('p', { class: 'note id' }, job.job_id)), h('div', { class: 'tools' }, beside));
}

/** Warnings stand under the drawing; this says above it that there are some. */
function warned(job) {
  const count = job.result.warnings.length;
  if (!count) return null;
  const show = () => { const list = document.querySelector('.warnings'); list.tabIndex = -1; list.focus(); };
  return h('button', { type: 'button', class: 'warned', onclick: show }, `${count} ${count === 1 ? 'warning' : 'warnings'}`);
}

async function drawingOf(job) {
  return parseDrawing(await api.text(api.outputPath(job.job_id, 'svg')));
}

function shown(job, drawing, photo) {
  const result = { job_id: job.job_id, ...job.result };
  const viewer = createViewer({ result, drawing, pictures: [{ name: 'photo', src: photo, rect: photoPart(result.frame) }], settings: job.settings ?? null });
  // a browser that cannot show the photo's kind still shows the drawing
  viewer.querySelector('.picture').addEventListener('error', () => {
    viewer.querySelector('[data-value=after]').click();
    viewer.querySelector('.under .choice').replaceWith(h('p', { class: 'note' }, 'This browser cannot show the photo’s kind of picture.'));
  });
  return viewer;
}

function downloads(job) {
  const made = FILES.filter(([kind]) => job.result[`${kind}_path`] || job.result[`${kind}_url`]);
  return made.map(([kind, label, name]) => {
    const path = api.outputPath(job.job_id, kind);
    return h('a', { class: kind === 'svg' ? 'button primary' : 'button', href: path, download: `${job.job_id}-${name}`, title: `Download ${name}` },
      h('span', { 'aria-hidden': 'true' }, '↓'), label);
  });
}

function logs(lines) {
  if (!lines.length) return null;
  const text = lines.map(line => JSON.stringify(line)).join('\n');
  return h('details', { class: 'logs' }, h('summary', {}, `Log, ${lines.length} lines`), h('pre', { tabindex: 0 }, text));
}

/** The live part: place in the queue, phases, percent, log, cancel. */
function createProgress(id, announce, changed) {
  const title = h('h2', {}, 'Waiting'), step = h('p', { class: 'soft' }), away = h('p', { class: 'lost', hidden: true, role: 'status' });
  const bar = h('progress', { max: 100, value: 0, 'aria-label': 'Progress of the job' });
  const percent = h('output', { class: 'percent' }, '');
  const phases = Object.entries(PHASES).map(([key, [name, meaning]]) => h('li', { 'data-key': key, 'data-state': 'ahead' }, h('b', {}, name), h('span', {}, meaning)));
  const lines = h('pre', { tabindex: 0, 'aria-label': 'Log' });
  const cancel = h('button', {
    type: 'button', async onclick() {
      cancel.disabled = true;
      try { await api.cancelJob(id); step.textContent = 'It is being cancelled: it ends at its next step.'; changed(); }
      catch (error) { cancel.disabled = false; step.textContent = error.sentence ?? String(error); }
    },
  }, 'Cancel');
  const element = h('div', { class: 'progress' }, h('div', { class: 'heading' }, h('div', {}, title, h('p', { class: 'note id' }, id)), cancel),
    away, h('div', { class: 'meter' }, bar, percent), step, h('ol', { class: 'phases' }, phases), photoOf(id),
    h('details', { class: 'logs' }, h('summary', {}, 'Log'), lines));
  let phase = '', number = -1, asked = false;

  function progress(report) {
    if (!report || report.number < number) return;
    number = report.number;
    title.textContent = WORDS.processing;
    bar.value = report.percent;
    percent.textContent = `${Math.round(report.percent)} %`;
    entitle(percent.textContent);
    step.textContent = report.step ? `${PHASES[report.phase]?.[0] ?? report.phase}: ${report.step}` : '';
    const at = phases.findIndex(item => item.dataset.key === report.phase);
    phases.forEach((item, index) => {
      item.dataset.state = index < at ? 'done' : index === at ? 'now' : 'ahead';
      if (index === at) item.setAttribute('aria-current', 'step'); else item.removeAttribute('aria-current');
    });
    if (report.phase !== phase) announce(PHASES[report.phase]?.[0] ?? report.phase);
    phase = report.phase;
  }
  return {
    element, progress,
    job(job) {
      title.textContent = WORDS[job.status];
      if (!asked) {
        lines.textContent = job.logs.map(line => JSON.stringify(line)).join('\n'); // further ones come as events
        asked = true;
      }
      if (job.status === 'pending') {
        const before = Math.max(0, (job.queue_position ?? 1) - 1);
        step.textContent = before === 0 ? 'It is next.' : `${before} ${before === 1 ? 'job' : 'jobs'} before it.`;
        if (job.attempts > 0) step.textContent += ' It was interrupted and runs again.';
      } else progress(job.progress);
    },
    log(line) {
      lines.append(`${lines.textContent ? '\n' : ''}${JSON.stringify(line)}`);
    },
    lost(error) {
      away.hidden = error === null;
      if (error) away.textContent = error.sentence ?? 'The connection was lost. It is tried again.';
    },
  };
}
