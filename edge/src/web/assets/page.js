// Keeps the page current. The server renders every part; this file only puts the changed parts in
// place, node by node, so that focus, selection and scroll positions survive.
"use strict";
(() => {
  const FIRST_RETRY_MS = 1000;
  const LAST_RETRY_MS = 30000;
  // The server speaks at least once a second; after this long the line is taken for dead.
  const QUIET_MS = 8000;

  const view = document.body.dataset.view;
  const link = document.querySelector("[data-link]");
  if (!view || !link || !window.EventSource) return;

  let source = null;
  let retry = FIRST_RETRY_MS;
  let retryTimer = 0;
  let quietTimer = 0;
  let lostAt = null;

  const clock = (date) => date.toISOString().slice(11, 19);

  function say(tone, text) {
    link.dataset.tone = tone;
    link.textContent = text;
  }

  function lost() {
    close();
    if (!lostAt) lostAt = new Date();
    document.body.dataset.lost = "";
    say("bad", `connection lost since ${clock(lostAt)} UTC`);
    retryTimer = setTimeout(open, retry);
    retry = Math.min(retry * 2, LAST_RETRY_MS);
  }

  function close() {
    clearTimeout(retryTimer);
    clearTimeout(quietTimer);
    if (source) source.close();
    source = null;
  }

  function listen() {
    clearTimeout(quietTimer);
    quietTimer = setTimeout(lost, QUIET_MS);
  }

  function open() {
    close();
    source = new EventSource(`/events?view=${view}`);
    source.addEventListener("parts", receive);
    source.onerror = lost;
    listen();
  }

  function receive(event) {
    const change = JSON.parse(event.data);
    listen();
    retry = FIRST_RETRY_MS;
    lostAt = null;
    delete document.body.dataset.lost;
    say("good", `live ${change.at} UTC`);
    if (document.title !== change.title) document.title = change.title;
    for (const [id, html] of change.parts) {
      const place = document.querySelector(`[data-part="${id}"]`);
      const template = document.createElement("template");
      template.innerHTML = html;
      if (place) children(place, template.content);
    }
  }

  function children(place, wanted) {
    const next = [...wanted.childNodes];
    const have = [...place.childNodes];
    next.forEach((node, i) => {
      if (i >= have.length) place.appendChild(node);
      else if (have[i].nodeName !== node.nodeName) have[i].replaceWith(node);
      else if (node.nodeType === Node.ELEMENT_NODE) element(have[i], node);
      else if (have[i].data !== node.data) have[i].data = node.data;
    });
    have.slice(next.length).forEach((node) => node.remove());
  }

  function element(have, wanted) {
    // Whether a fold is open is the reader's choice.
    const own = (name) => name === "open" && have.nodeName === "DETAILS";
    for (const { name } of [...have.attributes]) {
      if (!wanted.hasAttribute(name) && !own(name)) have.removeAttribute(name);
    }
    for (const { name, value } of wanted.attributes) {
      if (own(name)) continue;
      if (have.getAttribute(name) !== value) have.setAttribute(name, value);
    }
    children(have, wanted);
  }

  // The readout of the chart: the point under the pointer.
  function read(svg, clientX) {
    const box = svg.getBoundingClientRect();
    const { t0, t1, low, high } = svg.dataset;
    const at = ((clientX - box.left) / box.width) * 1000;
    const numbers = svg.querySelector(".line").getAttribute("d").match(/-?[\d.]+/g).map(Number);
    let best = 0;
    for (let i = 0; i < numbers.length; i += 2) {
      if (Math.abs(numbers[i] - at) < Math.abs(numbers[best] - at)) best = i;
    }
    const [x, y] = [numbers[best], numbers[best + 1]];
    const time = new Date((Number(t0) + ((Number(t1) - Number(t0)) * x) / 1000) / 1e6);
    const value = Number(high) - ((Number(high) - Number(low)) * y) / 240;
    const cross = svg.querySelector(".cross");
    cross.setAttribute("x1", x);
    cross.setAttribute("x2", x);
    const text = value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
    svg.closest("figure").querySelector("[data-readout]").textContent = `${text} at ${clock(time)}`;
  }

  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest && event.target.closest("svg[data-chart]");
    if (svg) read(svg, event.clientX);
  });

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
      if (!lostAt) say("idle", "paused");
    } else {
      open();
    }
  });

  if (document.hidden) say("idle", "paused");
  else open();
})();
