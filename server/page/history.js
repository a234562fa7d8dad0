// The list of jobs, newest first, a page at a time.

import { h } from '/viewer/dom.js';
import * as api from '/page/api.js';

const PAGE = 12;
const WORDS = { pending: 'waiting', processing: 'drawing', completed: 'done', failed: 'failed', cancelled: 'cancelled' };
const when = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

/** `deleted(id)`: a job is gone. */
export function createHistory(element, { deleted }) {
  const list = h('ul', { class: 'jobs' });
  const more = h('button', { type: 'button', onclick: () => next(), hidden: true }, 'Older jobs');
  const note = h('p', { class: 'soft' });
  element.replaceChildren(h('h2', { id: 'history-title' }, 'Jobs'), note, list, more);
  let shown = [], current = '', pages = 1;

  /** Ask again for as many pages as are shown. */
  async function refresh() {
    try {
      let all = [], cursor = null, answer;
      for (let page = 0; page < pages; page++) {
        answer = await api.listJobs(PAGE, cursor);
        all = all.concat(answer.jobs);
        cursor = answer.next;
        if (!cursor) break;
      }
      more.hidden = !cursor;
      draw(all);
    } catch (error) {
      note.textContent = error.sentence ?? String(error);
    }
  }
  async function next() {
    const first = shown.length;
    pages += 1;
    await refresh();
    list.children[first]?.querySelector('a').focus();
  }
  function draw(jobs) {
    note.textContent = jobs.length ? '' : 'None yet. What is drawn here is kept for a while and can be opened again.';
    const old = new Map([...list.children].map(item => [item.dataset.id, item]));
    list.replaceChildren(...jobs.map(job => {
      const kept = old.get(job.job_id);
      return kept?.dataset.status === job.status ? kept : card(job);
    }));
    shown = jobs;
    mark();
  }
  function mark() {
    for (const item of list.children) {
      const link = item.querySelector('a');
      if (item.dataset.id === current) link.setAttribute('aria-current', 'true'); else link.removeAttribute('aria-current');
    }
  }
  function card(job) {
    const picture = h('span', { class: 'thumb' });
    const time = when.format(new Date(job.created_at));
    if (job.status === 'completed') {
      const image = h('img', { alt: '', loading: 'lazy', decoding: 'async', width: 160, height: 160 });
      image.addEventListener('error', () => image.remove());
      image.src = api.outputPath(job.job_id, job.result && !job.result.png_path && !job.result.png_url ? 'svg' : 'png');
      picture.append(image);
    }
    return h('li', { 'data-id': job.job_id, 'data-status': job.status },
      h('a', { href: `#job=${job.job_id}` }, picture, h('b', {}, WORDS[job.status] ?? job.status), h('time', { datetime: job.created_at }, time)),
      h('button', {
        type: 'button', 'aria-label': `Delete the job of ${time}`, title: 'Delete', async onclick() {
          this.disabled = true;
          const image = picture.querySelector('img'), src = image?.src;
          image?.removeAttribute('src'); // a picture that is still to be loaded would be asked of a job that is gone
          try { await api.deleteJob(job.job_id); deleted(job.job_id); await refresh(); list.querySelector('a')?.focus(); }
          catch (error) { this.disabled = false; if (image) image.src = src; note.textContent = error.sentence ?? String(error); }
        },
      }, '×'));
  }
  return { refresh, open(id) { current = id ?? ''; mark(); }, get busy() { return shown.some(job => !api.OVER.has(job.status)); } };
}
