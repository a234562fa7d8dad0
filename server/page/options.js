// The settings of a job beside its photo and palette. Only what differs from a default is sent.

import { choice, h, press } from '/viewer/dom.js';
import { hex } from '/page/palette.js';

export const REMOVE = ['side view mirror', 'car logo', 'brand badge', 'license plate', 'text', 'sticker'];
const OUTPUTS = [['svg', 'SVG'], ['png', 'PNG'], ['pdf', 'PDF'], ['report', 'Report']];
const NEURAL = [
  ['num_inference_steps', 'Steps', 'More take longer. Empty: as the preset says.', 1, 150, 1],
  ['guidance_scale', 'Guidance', 'How closely the prompt is followed.', 0, 30, 0.1],
  ['depth_weight', 'Depth', 'How strongly the photo’s depth holds the drawing.', 0, 2, 0.05],
  ['canny_weight', 'Edges', 'How strongly the photo’s edges hold it.', 0, 2, 0.05],
  ['canny_end', 'Edges until', 'Share of the steps after which the edges let go.', 0, 1, 0.05],
  ['lora_scale', 'Style', 'How strong the style is.', 0, 2, 0.05],
];

let fields = 0;
/** A label over a control, and what it means under it. */
function field(label, control, meaning = '') {
  const id = `o${++fields}`;
  control.id = id;
  if (meaning) control.setAttribute('aria-describedby', `${id}-help`);
  return h('div', { class: 'field' }, h('label', { for: id }, label), control, meaning && h('p', { class: 'note', id: `${id}-help` }, meaning));
}
const numeric = (min, max, step, placeholder) => h('input', { type: 'number', min, max, step, placeholder, inputmode: 'decimal' });
const select = pairs => h('select', {}, pairs.map(([value, label]) => h('option', { value }, label)));
const given = input => input.value.trim() === '' ? null : Number(input.value);

function group(title, summary, open, ...body) {
  const told = h('span', { class: 'soft' }, summary);
  return [h('details', { class: 'group', open }, h('summary', {}, title, told), body), told];
}

/** The form's parts. `palette()`: the colours a background may have. `read()` gives the job's keys; `write(keys)` sets them. */
export function createOptions(palette) {
  const named = () => h('input', { type: 'text', maxlength: 200, spellcheck: 'false', autocomplete: 'off', autocapitalize: 'none' });
  const style = named(), saved = named(), locks = h('textarea', { rows: 2, spellcheck: 'false', placeholder: '[{"part": "body", "color": "#C8102E"}]' });
  const background = select([['remove', 'Nothing: transparent'], ['keep', 'Keep the photo’s, redrawn']]);
  const canvas = select([['square', 'The whole square'], ['photo', 'The photo’s part'], ['vehicle', 'The vehicle, with a margin']]);
  const size = select([['1024', '1024'], ['2048', '2048'], ['4096', '4096'], ['8192', '8192']]);
  const detail = numeric(0, 0.05, 'any', '0.00003');
  const width = numeric(0.1, 64, 'any', '2'), color = h('input', { type: 'text', size: 8, maxlength: 7, placeholder: '#000000', spellcheck: 'false', autocomplete: 'off' });
  const seed = numeric(0, 4294967295, 1, '42');
  let mode = 'both';
  const stroke = choice('Lines', [['both', 'Both'], ['boundaries', 'Boundaries'], ['centerlines', 'Centrelines'], ['none', 'None']], 'both', value => { mode = value; });
  const check = (value, label, on) => h('label', { class: 'check' }, h('input', { type: 'checkbox', value, checked: on }), label);
  const remove = h('div', { class: 'checks-list', role: 'group', 'aria-label': 'What is removed' }, REMOVE.map(label => check(label, label, true)));
  const other = h('input', { type: 'text', autocomplete: 'off', placeholder: 'roof rack, antenna' });
  const outputs = h('div', { class: 'checks-list', role: 'group', 'aria-label': 'Files' }, OUTPUTS.map(([value, label]) => check(value, label, true)));
  const preset = select([['standard', 'Standard'], ['draft', 'Draft: quick'], ['best', 'Best: slow']]);
  const prompt = h('textarea', { rows: 2, maxlength: 2000 }), negative = h('textarea', { rows: 2, maxlength: 2000 });
  const low = check('allow_low_iou', 'Deliver also a drawing that strays from the photo', false);
  const weights = NEURAL.map(([key, label, meaning, min, max, step]) => [key, numeric(min, max, step, 'default'), label, meaning]);
  size.value = '4096';

  const [styles] = group('Named styles', 'palette, preset, locks', false,
    field('Palette name', style, 'In place of the colours above, such as greys, classic or poster. A wrong name lists all.'),
    field('Saved preset', saved, 'A saved set of settings, such as catalogue, lineart or sticker; what differs from a default here wins.'),
    field('Colour locks', locks, 'JSON. Each locks a part (glass, wheels, body) or a point ([x, y], shares of the photo) to a colour.'));
  const [picture] = group('Picture', 'background, size, detail', false,
    field('Background', background, 'What stands behind the vehicle.'),
    field('Canvas', canvas, 'What the files show.'),
    field('Working size', size, 'Side of the square that is traced, in units of the SVG. A smaller one is quicker and coarser.'),
    field('Detail', detail, 'Smallest region kept, as a share of the square’s area; 0 keeps all.'));
  const [lines] = group('Lines', 'mode, width, colour', false,
    stroke, h('p', { class: 'note' }, 'Boundaries run between colours and round the vehicle; centrelines are inner lines, such as panel gaps.'),
    h('div', { class: 'two' }, field('Width', width, 'In units of the square.'), field('Colour', color, 'Any hex colour.')));
  const [removal] = group('Removal', 'plates, lettering, badges', false, remove, field('Other things', other, 'Separated by commas. What the engine cannot find is told as a warning.'));
  const [files] = group('Files and seed', 'SVG, PNG, PDF, report', false, outputs, field('Seed', seed, 'The same photo, settings and seed give the same file.'));
  const [neural] = group('Neural drawing', 'preset, prompt', false,
    field('Preset', preset, 'How many steps are taken.'),
    h('div', { class: 'two' }, weights.map(([, input, label, meaning]) => field(label, input, meaning))),
    field('Prompt', prompt, 'Empty: the server’s own.'), field('Negative prompt', negative, 'What the drawing should not have.'), low);
  neural.hidden = true;

  function backgrounds() {
    const chosen = background.value;
    background.replaceChildren(...[['remove', 'Nothing: transparent'], ['keep', 'Keep the photo’s, redrawn'], ...palette().map(value => [value, value])]
      .map(([value, label]) => h('option', { value }, label)));
    background.value = [...background.options].some(option => option.value === chosen) ? chosen : 'remove';
  }
  const checked = list => [...list.querySelectorAll('input:checked')].map(input => input.value);

  /** The locks of a text; none for an empty one, null for what is no list in JSON. */
  function parsed(text) {
    try { return text.trim() ? (value => Array.isArray(value) ? value : null)(JSON.parse(text)) : []; } catch { return null; }
  }
  function read() {
    const keys = { outputs: checked(outputs) };
    for (const [name, input] of [['palette_name', style], ['job_preset', saved]]) if (input.value.trim()) keys[name] = input.value.trim();
    const locked = parsed(locks.value);
    if (locked?.length) keys.color_locks = locked;
    const removed = [...checked(remove), ...other.value.split(',').map(label => label.trim()).filter(Boolean)];
    if (removed.length !== REMOVE.length || removed.some((label, at) => label !== REMOVE[at])) keys.remove = removed;
    if (background.value !== 'remove') keys.background = background.value;
    if (canvas.value !== 'square') keys.canvas = canvas.value;
    if (size.value !== '4096') keys.size = Number(size.value);
    for (const [name, input] of [['detail', detail], ['seed', seed]]) if (given(input) !== null) keys[name] = given(input);
    const line = { mode: mode === 'both' ? null : mode, width: given(width), color: color.value.trim() || null };
    const told = Object.entries(line).filter(([, value]) => value !== null);
    if (told.length) keys.stroke = Object.fromEntries(told);
    if (neural.hidden) return keys;
    if (preset.value !== 'standard') keys.preset = preset.value;
    for (const [name, input] of weights) if (given(input) !== null) keys[name] = given(input);
    if (prompt.value.trim()) keys.prompt = prompt.value.trim();
    if (negative.value.trim()) keys.negative_prompt = negative.value.trim();
    if (low.firstChild.checked) keys.allow_low_iou = true;
    return keys;
  }
  function write(keys) {
    backgrounds();
    const put = (control, value, fallback = '') => { control.value = value ?? fallback; };
    put(style, keys.palette_name);
    put(saved, keys.job_preset);
    put(locks, keys.color_locks && JSON.stringify(keys.color_locks));
    put(background, keys.background, 'remove');
    put(canvas, keys.canvas, 'square');
    put(size, keys.size && String(keys.size), '4096');
    put(detail, keys.detail);
    put(seed, keys.seed);
    put(width, keys.stroke?.width);
    put(color, keys.stroke?.color);
    mode = keys.stroke?.mode ?? 'both';
    for (const button of stroke.children) press(button, button.dataset.value === mode);
    const removed = keys.remove ?? REMOVE;
    for (const input of remove.querySelectorAll('input')) input.checked = removed.includes(input.value);
    put(other, removed.filter(label => !REMOVE.includes(label)).join(', '));
    if (keys.outputs) for (const input of outputs.querySelectorAll('input')) input.checked = keys.outputs.includes(input.value);
    put(preset, keys.preset, 'standard');
    for (const [name, input] of weights) put(input, keys[name]);
    put(prompt, keys.prompt);
    put(negative, keys.negative_prompt);
    low.firstChild.checked = Boolean(keys.allow_low_iou);
  }
  /** The first thing that cannot be sent, as a sentence and where it stands; null when all is well. */
  function wrong() {
    const lineColor = color.value.trim();
    if (lineColor && !hex(lineColor)) return [color, `“${lineColor}” is not a colour: 3 or 6 hex digits.`];
    if (!parsed(locks.value)) return [locks, 'Colour locks: must be a list in JSON, such as [{"part": "body", "color": "#C8102E"}].'];
    if (!checked(outputs).length) return [outputs.querySelector('input'), 'Choose at least one file.'];
    for (const input of [detail, width, seed, ...weights.map(([, control]) => control)])
      if (!input.checkValidity()) return [input, `${input.labels[0].textContent}: ${input.validationMessage}`];
    return null;
  }
  return {
    elements: [styles, picture, lines, removal, files, neural], backgrounds, read, write, wrong,
    set engine(name) { neural.hidden = name !== 'neural'; },
    get engine() { return neural.hidden ? 'classical' : 'neural'; },
  };
}
