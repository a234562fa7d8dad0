// The report: what stands in the file as plain pictures becomes the viewer. Without scripts the pictures and figures remain readable.

import { h } from './dom.js';
import { createViewer } from './viewer.js';

const data = JSON.parse(document.querySelector('#data').textContent);
const fallback = document.querySelector('#plain');
const pictures = [...fallback.querySelectorAll('img')].map(image => ({ name: image.dataset.name, src: image.src, rect: JSON.parse(image.dataset.rect) }));
const viewer = createViewer({ result: data.result, settings: data.settings, drawing: fallback.querySelector('svg'), pictures });
fallback.replaceWith(viewer);

const themes = ['auto', 'light', 'dark'];
const button = h('button', { type: 'button' });
function dress(theme) {
  document.documentElement.dataset.theme = theme;
  button.textContent = `Theme: ${theme}`;
  button.onclick = () => dress(themes[(themes.indexOf(theme) + 1) % themes.length]);
}
dress('auto');
document.querySelector('header').append(button);
