// How the element looks: light or dark as the page's reader likes it, and still where they like that.

const CSS = `
:host { --blab-accent: #0b57d0; --blab-accent-text: #fff; --blab-back: #fff; --blab-text: #1d1d1f; --blab-soft: #f0f2f5;
  --blab-faint: #595f69; --blab-line: #8a919c; --blab-warn: #a3160b; --blab-radius: 16px;
  display: block; font: 16px/1.45 system-ui, sans-serif; color: var(--blab-text); text-align: start; color-scheme: light; }
:host([hidden]) { display: none; }
:host(:not([mode=inline])) { position: fixed; z-index: 2147483000; inset-block-end: 20px; inset-inline-end: 20px; }
:host([position=left]:not([mode=inline])) { inset-inline: 20px auto; }
@media (prefers-color-scheme: dark) { :host(:not([theme=light])) { --blab-back: #1e2024; --blab-text: #eceef1; --blab-soft: #2b2e34;
  --blab-faint: #b4bac4; --blab-line: #767d88; --blab-warn: #ffb4a9; color-scheme: dark; } }
:host([theme=dark]) { --blab-back: #1e2024; --blab-text: #eceef1; --blab-soft: #2b2e34;
  --blab-faint: #b4bac4; --blab-line: #767d88; --blab-warn: #ffb4a9; color-scheme: dark; }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
button { display: inline-grid; place-items: center; font: inherit; color: inherit; border: 0; border-radius: 999px; min-block-size: 44px; padding: 8px 18px; cursor: pointer; background: var(--blab-soft); }
button:disabled { cursor: default; opacity: .6; }
:is(button, input, .log):focus-visible { outline: 3px solid var(--blab-text); outline-offset: 2px; }
.main, .open, .send { background: var(--blab-accent); color: var(--blab-accent-text); }
.main { flex: 1; font-weight: 600; }
.open { display: grid; inline-size: 60px; block-size: 60px; padding: 0; margin-inline-start: auto; box-shadow: 0 4px 14px #0005; }
:host([position=left]) .open { margin-inline: 0 auto; }
.open svg { inline-size: 28px; block-size: 28px; }
svg { fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
[data-phase=live] .open { box-shadow: 0 0 0 4px var(--blab-back), 0 0 0 7px var(--blab-accent); }
.panel { background: var(--blab-back); border: 1px solid var(--blab-line); border-radius: var(--blab-radius); display: flex; flex-direction: column; gap: 10px; padding: 14px; overflow: auto; overscroll-behavior: contain; }
.panel > * { flex: none; }
:host(:not([mode=inline])) .panel { inline-size: 360px; max-block-size: min(560px, calc(100dvh - 120px)); margin-block-end: 12px; box-shadow: 0 10px 36px #0004; }
.head, .actions, form { display: flex; gap: 8px; align-items: start; }
h2 { font-size: 1.05rem; margin: 0; padding-block: 10px; flex: 1; overflow-wrap: anywhere; }
.close { min-inline-size: 44px; padding: 0; }
p { margin: 0; overflow-wrap: anywhere; white-space: pre-line; }
.consent { font-size: .875rem; color: var(--blab-faint); max-block-size: 8em; overflow: auto; }
.status { display: flex; gap: 8px; align-items: center; min-block-size: 1.45em; color: var(--blab-faint); }
.status::before { content: ""; flex: none; inline-size: 10px; block-size: 10px; border-radius: 50%; background: var(--blab-line); }
.status:empty::before { display: none; }
[data-phase=live] .status::before { background: var(--blab-accent); }
[data-agent=speaking] .status::before, [data-phase=starting] .status::before, [data-phase=waiting] .status::before { animation: beat 1s ease-in-out infinite alternate; }
[data-problem] .status { color: var(--blab-warn); }
@keyframes beat { to { transform: scale(1.6); } }
.panel .log { overflow: auto; min-block-size: 5.5em; flex: 0 1 auto; }
ol { list-style: none; margin: 0; padding: 2px; display: flex; flex-direction: column; gap: 6px; }
:host([mode=inline]) .log { max-block-size: 320px; }
li { padding: 8px 12px; border-radius: 14px; background: var(--blab-soft); max-inline-size: 88%; align-self: start; overflow-wrap: anywhere; white-space: pre-line; }
.user { align-self: end; border: 1px solid var(--blab-line); background: none; }
.name { position: absolute; clip-path: inset(50%); inline-size: 1px; block-size: 1px; overflow: hidden; white-space: nowrap; }
input { flex: 1; min-inline-size: 0; font: inherit; color: inherit; background: var(--blab-back); border: 1px solid var(--blab-line); border-radius: 999px; min-block-size: 44px; padding: 8px 16px; }
::placeholder { color: var(--blab-faint); opacity: 1; }
.mute[aria-pressed=true] { background: var(--blab-text); color: var(--blab-back); }
/* a phone, or a window that was zoomed: the panel takes all of it, and the bubble's place too */
@media (max-width: 420px), (max-height: 480px) {
  :host(:not([mode=inline])) { inset-block-end: 10px; inset-inline-end: 10px; }
  :host([position=left]:not([mode=inline])) { inset-inline: 10px auto; }
  :host(:not([mode=inline])) .panel { inline-size: min(360px, calc(100vw - 20px)); max-block-size: calc(100dvh - 20px); margin: 0; }
  :host(:not([mode=inline])) .panel:not([hidden]) + .open { display: none; }
}
@media (max-height: 480px) {
  :host(:not([mode=inline])) .panel { gap: 6px; padding-block: 6px; }
  .head { align-items: center; }
  h2 { padding: 0; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; }
  .consent { max-block-size: 4em; }
  .status:empty, [data-phase=live] .greeting { display: none; }
}
@media (prefers-reduced-motion: reduce) { * { animation: none !important; } }
`;

/** The sheet of one element; `accent`: a colour as #rrggbb. Not shared, because each has colours of its own.
 *  @param {string} [accent] */
export function sheet(accent) {
  const made = new CSSStyleSheet();
  const own = accent ? `:host { --blab-accent: ${accent}; --blab-accent-text: ${textOn(accent)}; }` : "";
  made.replaceSync(CSS + own);
  return made;
}

/** Black or white, whichever reads better on a colour (WCAG's relative luminance).
 *  @param {string} colour */
function textOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}
