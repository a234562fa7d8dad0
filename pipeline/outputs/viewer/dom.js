// The few helpers that viewer and page share: elements, numbers, times.

const SVG = 'http://www.w3.org/2000/svg';

/** An element: attributes by name, `on…` as listeners, true/false/null as present or absent; children are nodes or text, never markup. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for an element of SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

/** A coloured patch. Set through the style object, which a strict content security policy allows. */
export function swatch(color, tag = 'i') {
  const patch = h(tag, { class: 'patch', 'aria-hidden': 'true' });
  patch.style.background = /^#[0-9a-f]{6}$/i.test(color) ? color : 'none';
  return patch;
}

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
export const pressed = button => button.getAttribute('aria-pressed') === 'true';
export const press = (button, on) => button.setAttribute('aria-pressed', String(on));

/** A button that is pressed or not, and tells what it has become. */
export function toggle(label, on, tell, attributes = {}) {
  const button = h('button', { type: 'button', 'aria-pressed': String(on), ...attributes }, label);
  button.addEventListener('click', () => { press(button, !pressed(button)); tell(pressed(button)); });
  return button;
}

/** Buttons of which exactly one is pressed. `options`: [value, label] pairs. */
export function choice(label, options, value, tell) {
  const buttons = options.map(([key, text]) => h('button', {
    type: 'button', 'data-value': key, 'aria-pressed': String(key === value),
    onclick() { for (const button of buttons) press(button, button === this); tell(key); },
  }, text));
  return h('div', { class: 'choice', role: 'group', 'aria-label': label }, buttons);
}

/** A number with thin spaces between thousands and at most three decimals; a dash for what was not measured. */
export function number(value) {
  if (value === null || value === undefined) return '–';
  const [whole, part] = String(Number(value.toFixed(3))).split('.');
  return whole.replace(/\B(?=(\d{3})+$)/g, '\u202f') + (part ? '.' + part : '');
}

export function duration(milliseconds) {
  if (milliseconds < 1000) return Math.round(milliseconds) + ' ms';
  const seconds = milliseconds / 1000;
  if (seconds < 60) return seconds.toFixed(1) + ' s';
  return Math.floor(seconds / 60) + ' min ' + String(Math.round(seconds % 60)).padStart(2, '0') + ' s';
}

export const bytes = count => count < 1e6 ? number(Math.round(count / 1000)) + ' kB' : (count / 1e6).toFixed(1) + ' MB';

/** "CODE: sentence" as its two parts; the code is empty where there is none. */
export function coded(text) {
  const found = /^([A-Z][A-Z_]+): (.*)$/s.exec(text);
  return found ? { code: found[1], sentence: found[2] } : { code: '', sentence: text };
}
