// Everything that the page asks of the server. Where that wants a key, the browser's session cookie stands for it.

/** What the server refused, with its code and sentence; `status` 0 means that there was no answer. */
export class Refusal extends Error {
  constructor(status, code, sentence) {
    super(sentence);
    Object.assign(this, { status, code, sentence });
  }
}

function refusal(status, text) {
  if (status === 401) return new Refusal(status, 'UNAUTHORIZED', 'The session has ended.');
  try {
    const told = JSON.parse(text);
    return new Refusal(status, told.code ?? '', told.detail || told.title || `The server answered ${status}.`);
  } catch {
    return new Refusal(status, '', `The server answered ${status}.`);
  }
}

const unreachable = () => new Refusal(0, '', 'The server cannot be reached. It is tried again.');

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw unreachable();
  }
  if (answer.ok) return answer;
  throw refusal(answer.status, await answer.text());
}

const json = async (path, options) => (await call(path, options)).json();
const job = id => `/api/v1/jobs/${encodeURIComponent(id)}`;

export const server = () => json('/ready').catch(error => { if (error.status === 503) return null; throw error; });
export const getJob = (id, signal) => json(job(id), { signal });
export const listJobs = (limit, before) => json(`/api/v1/jobs?limit=${limit}${before ? `&before=${encodeURIComponent(before)}` : ''}`);
export const cancelJob = id => call(`${job(id)}/cancel`, { method: 'POST' });
export const deleteJob = id => call(job(id), { method: 'DELETE' });
export const sample = async () => new File([await (await call('/api/v1/sample')).blob()], 'sample.jpg', { type: 'image/jpeg' });
/** Where the vehicle is in the sample, for an engine that has no network to find it. */
export const sampleBox = [0.2, 0.35, 0.81, 0.8];
export const inputPath = id => `${job(id)}/input`;
export const outputPath = (id, kind) => `${job(id)}/output/${kind}`;
export const text = async path => (await call(path)).text();
export const blob = async path => (await call(path)).blob();

export async function paletteOf(file, colors) {
  const form = new FormData();
  form.append('file', file);
  form.append('colors', String(colors));
  const told = await json('/api/v1/palette', { method: 'POST', body: form });
  return told.palette;
}

/** Sixteen random bytes as hex; crypto.randomUUID is not there over plain http. */
export const randomKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, '0')).join('');

export const trainingPath = what => `/api/v1/training/${what}`;
export const training = () => json('/api/v1/training');
export const startTraining = options => call('/api/v1/training', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(options) });
export const stopTraining = () => call(trainingPath('stop'), { method: 'POST' });
export const installStyle = () => call(trainingPath('install'), { method: 'POST' });

/** Send a form; `sent` is told the share that has arrived. XMLHttpRequest, because fetch tells nothing of an upload. */
async function post(path, form, headers, sent) {
  const { status, body } = await new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = event => { if (event.lengthComputable) sent(event.loaded / event.total); };
    request.onload = () => resolve({ status: request.status, body: request.responseText });
    request.onerror = () => reject(unreachable());
    request.send(form);
  });
  if (status < 300) return new Response(body);
  throw refusal(status, body);
}

/** Send a zip of pairs. */
export function sendPairs(file, sent) {
  const form = new FormData();
  form.append('file', file, file.name);
  return post(trainingPath('pairs'), form, {}, sent);
}

/** Submit a photo; `sent` is told the share that has arrived. */
export async function submit(file, options, idempotencyKey, sent) {
  const form = new FormData();
  form.append('file', file, file.name);
  form.append('options', JSON.stringify(options));
  return (await post('/api/v1/process', form, { 'Idempotency-Key': idempotencyKey }, sent)).json();
}

const sleep = (ms, signal) => new Promise(resolve => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
});
const SILENCE = 25_000; // ms without a byte, keep-alives included, after which a stream counts as broken

/** Server-sent events by fetch, which tells when they fall silent. Ends when the stream does; throws when it breaks or falls silent. */
async function stream(path, last, signal, tell) {
  const silent = new AbortController();
  const answer = await call(path, { signal: AbortSignal.any([signal, silent.signal]), headers: { Accept: 'text/event-stream', ...(last ? { 'Last-Event-ID': last } : {}) } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const timer = setTimeout(() => silent.abort(), SILENCE);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    const blocks = (rest + value).replaceAll('\r\n', '\n').split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { event: 'message', data: '', id: '' };
      for (const line of block.split('\n')) {
        const [, field, content] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (field) event[field] = field === 'data' && event.data ? `${event.data}\n${content}` : content;
      }
      if (event.data) tell(event.event, JSON.parse(event.data), event.id);
    }
  }
}

export const OVER = new Set(['completed', 'failed', 'cancelled']);

/**
 * Follow a job until it is over: by events, and by asking whenever the events end, break or fall silent.
 * `tell.job(job)`, `tell.progress(progress)`, `tell.log(line)`, `tell.lost(error)`. Throws when the job is not there.
 */
export async function follow(id, signal, tell) {
  let last = '', wait = 500, status = '', heard = 0;
  const ask = async () => {
    const told = await getJob(id, signal);
    if (last === '') last = told.last_event_id;
    status = told.status;
    tell.job(told);
    return OVER.has(told.status);
  };
  // nobody sends an event when the queue before a job gets shorter, and a proxy may hold events back
  const deaf = () => status === 'pending' || Date.now() - heard > 8000;
  const pulse = setInterval(() => { if (document.visibilityState === 'visible' && deaf()) ask().catch(tell.lost); }, 3000);
  signal.addEventListener('abort', () => clearInterval(pulse), { once: true });
  try {
    while (!signal.aborted) {
      try {
        if (await ask()) return;
        await stream(`${job(id)}/events`, last, signal, (event, data, number) => {
          last = number || last;
          wait = 500;
          heard = Date.now();
          if (event === 'progress') tell.progress(data);
          else if (event === 'log') tell.log(data);
        });
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 404 || error.status === 401) throw error;
        tell.lost(error);
      }
      await sleep(wait, signal);
      wait = Math.min(4000, wait * 1.6);
    }
  } finally {
    clearInterval(pulse);
  }
}
