// The browser of sections: pictures in layers, one pane or two side by side, and the errors.
//
// All text that comes from files goes through textContent, never through HTML. What the page shows
// follows from `state`: whoever changes it calls `update`.
"use strict";

(() => {
  const root = document.querySelector(".viewer");
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const find = (selector) => root.querySelector(selector);
  const [HEIGHT, WIDTH] = data.shape;
  const MOST_ZOOM = 32; // screen pixels for a pixel of the section
  const STEP = 1.25; // of the zoom
  const CONTEXT = 2; // what is seen of a section around an error, in sizes of the error
  const LEAST_SEEN = 200; // px of a section
  const MOST_LISTED = 100; // errors, until all are asked for

  // Layers of the same name, one for each prediction, share a row of the panel: a slot.
  const slots = [...new Set(data.layers.map((layer) => layer.name))].map((name) => {
    const layers = data.layers.filter((layer) => layer.name === name);
    const of = (prediction) =>
      layers.find((layer) => layer.prediction === null || layer.prediction === prediction);
    return { name, of, shown: layers[0].shown, opacity: layers[0].opacity, kind: layers[0].kind };
  });

  const state = {
    section: 0, // index into data.sections
    zoom: null, // screen pixels for a pixel of the section; null = all of it fits
    x: WIDTH / 2, // the pixel in the middle of the picture
    y: HEIGHT / 2,
    error: null, // the one that is marked
    active: 0, // the pane that the panel controls
    isDouble: false,
    listAll: false,
  };

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const viewer = {
    data, slots, state, errorsHere, currentZoom, showError, pan, zoomBy,
    activate: (pane) => activate(panes.indexOf(pane)),
    hasFocus: () => root.contains(document.activeElement),
  };

  const panes = [...root.querySelectorAll(".pane")].map(
    (element, i) => new Pane(element, viewer, (slot) => (i === 0 ? slot.shown : isOfTruth(slot))),
  );

  // The second pane begins with what is true, on the lowest layer.
  function isOfTruth(slot) {
    return slot === slots[0] || slot.name === "truth";
  }

  const activePane = () => panes[state.active];

  function fittingZoom() {
    const { clientWidth, clientHeight } = panes[0].element;
    return Math.min(clientWidth / WIDTH, clientHeight / HEIGHT) || 1;
  }

  function currentZoom() {
    return state.zoom ?? fittingZoom();
  }

  // ---- what the keys, the mouse and the buttons do

  function showSection(index) {
    state.section = clamp(index, 0, data.sections.length - 1);
    if (state.error && state.error.section !== data.sections[state.section]) state.error = null;
    update();
  }

  function showError(error) {
    const index = data.sections.indexOf(error.section);
    if (index < 0) return;
    state.error = error;
    state.section = index;
    activePane().prediction = error.prediction;
    lookAt(error);
    update();
  }

  // Zoom so that an error is seen, with some of what is around it.
  function lookAt(error) {
    const [top, left, bottom, right] = error.box;
    const { clientWidth, clientHeight } = panes[0].element;
    const side = Math.max(CONTEXT * Math.max(bottom - top, right - left), LEAST_SEEN);
    const zoom = Math.min(clientWidth, clientHeight) / side;
    state.zoom = zoom > fittingZoom() ? Math.min(zoom, MOST_ZOOM) : null;
    [state.y, state.x] = [(top + bottom) / 2, (left + right) / 2];
  }

  // Go to the error before or behind the marked one in the list.
  function stepError(by) {
    const listed = listedErrors().filter((error) => data.sections.includes(error.section));
    if (listed.length === 0) return;
    const now = listed.indexOf(state.error);
    const next = now < 0 ? (by > 0 ? 0 : listed.length - 1) : now + by;
    showError(listed[(next + listed.length) % listed.length]);
  }

  // Zoom so that the pixel at a point of a pane, from its middle, stays where it is.
  function zoomBy(factor, [right, down] = [0, 0]) {
    const before = currentZoom();
    const after = clamp(before * factor, fittingZoom(), MOST_ZOOM);
    state.x += right / before - right / after;
    state.y += down / before - down / after;
    state.zoom = after <= fittingZoom() * 1.001 ? null : after;
    updateView();
  }

  // Move the picture, in screen pixels.
  function pan(right, down) {
    state.x -= right / currentZoom();
    state.y -= down / currentZoom();
    updateView();
  }

  function fit() {
    state.zoom = null;
    updateView();
  }

  function toggleSlot(i) {
    const own = activePane().slots[i];
    if (!own) return;
    own.shown = !own.shown;
    update();
  }

  function toggleDouble() {
    state.isDouble = !state.isDouble;
    if (!state.isDouble) state.active = 0;
    update();
    if (state.error && state.zoom !== null) { // the picture has another size now
      lookAt(state.error);
      updateView();
    }
  }

  function activate(i) {
    if (i < 0 || state.active === i || (i === 1 && !state.isDouble)) return;
    state.active = i;
    update();
  }

  function stepPrediction() {
    showPrediction((activePane().prediction + 1) % Math.max(data.predictions.length, 1));
  }

  function showPrediction(prediction) {
    activePane().prediction = prediction;
    const isShown = (pane, i) => (i === 0 || state.isDouble) && pane.prediction === state.error.prediction;
    if (state.error && !panes.some(isShown)) state.error = null;
    update();
  }

  const actions = {
    "previous-section": () => showSection(state.section - 1),
    "next-section": () => showSection(state.section + 1),
    "first-section": () => showSection(0),
    "last-section": () => showSection(data.sections.length - 1),
    "zoom-in": () => zoomBy(STEP),
    "zoom-out": () => zoomBy(1 / STEP),
    fit,
    "side-by-side": toggleDouble,
    "other-pane": () => activate(1 - state.active),
    "next-prediction": stepPrediction,
    "next-error": () => stepError(1),
    "previous-error": () => stepError(-1),
    help: () => find("dialog").showModal(),
  };

  const PAN = 60; // screen pixels for a press of a key
  const KEYS = {
    ArrowLeft: "previous-section", ArrowRight: "next-section",
    PageUp: "previous-section", PageDown: "next-section",
    Home: "first-section", End: "last-section",
    "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", 0: "fit",
    s: "side-by-side", x: "other-pane", p: "next-prediction",
    e: "next-error", E: "previous-error", "?": "help",
  };
  const PANS = {
    ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN],
  };

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || find("dialog").open) return;
    const { key, target } = event;
    const isOfControl = target.matches("select, input[type=range], input[type=radio]");
    if (isOfControl && /^(Arrow|Page|Home|End)/.test(key)) return;
    if (event.shiftKey && PANS[key]) pan(...PANS[key]);
    else if (/^[1-9]$/.test(key)) toggleSlot(Number(key) - 1);
    else if (KEYS[key]) actions[KEYS[key]]();
    else return;
    event.preventDefault();
  });

  // ---- the panel

  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-action]");
    if (button) actions[button.dataset.action]();
  });

  const slider = find(".section-slider");
  slider.max = data.sections.length - 1;
  slider.addEventListener("input", () => showSection(Number(slider.value)));

  const rows = slots.map((slot, i) => {
    const row = find("#viewer-layer").content.firstElementChild.cloneNode(true);
    const [box, opacity] = row.querySelectorAll("input");
    row.querySelector(".layer-name").textContent = slot.name;
    row.querySelector("kbd").textContent = i + 1;
    row.querySelector(".opacity-name").textContent = `opacity of ${slot.name}`;
    box.addEventListener("change", () => toggleSlot(i));
    opacity.addEventListener("input", () => {
      activePane().slots[i].opacity = Number(opacity.value) / 100;
      update();
    });
    return { row, box, opacity };
  });
  find(".layers").append(...rows.map(({ row }) => row));

  const choice = find(".prediction-choice");
  choice.append(...data.predictions.map((name, i) => make("option", { value: i, textContent: name })));
  choice.addEventListener("change", () => showPrediction(Number(choice.value)));

  const sides = [...root.querySelectorAll(".sides input")];
  for (const [i, side] of sides.entries()) side.addEventListener("change", () => activate(i));

  function updatePanel() {
    const pane = activePane();
    rows.forEach(({ box, opacity }, i) => {
      box.checked = pane.slots[i].shown;
      opacity.value = Math.round(pane.slots[i].opacity * 100);
    });
    choice.value = pane.prediction;
    sides.forEach((side, i) => { side.checked = state.active === i; });
    find(".sides").hidden = !state.isDouble;
    find("[data-action=side-by-side]").setAttribute("aria-pressed", state.isDouble);
    panes[1].element.hidden = !state.isDouble;
    find(".panes").classList.toggle("double", state.isDouble);
    for (const one of panes) one.element.classList.toggle("active", state.isDouble && one === pane);
    const number = data.sections[state.section];
    slider.value = state.section;
    slider.setAttribute("aria-valuetext", `section ${number}`);
    setText(".section-number", `section ${number} (${state.section + 1} of ${data.sections.length})`);
  }

  // Change a text only if it differs: a screen reader says it again otherwise.
  function setText(selector, text) {
    const element = find(selector);
    if (element && element.textContent !== text) element.textContent = text;
  }

  // ---- the errors

  const errorsOf = (prediction) => data.errors.filter((error) => error.prediction === prediction);

  function errorsHere(prediction) {
    const number = data.sections[state.section];
    return errorsOf(prediction).filter((error) => error.section === number);
  }

  const onlyHere = find(".only-here");
  const kindChoice = find(".kind-choice");
  onlyHere?.addEventListener("change", update);
  kindChoice?.addEventListener("change", update);

  function listedErrors() {
    const prediction = activePane().prediction;
    const errors = onlyHere?.checked ? errorsHere(prediction) : errorsOf(prediction);
    return errors.filter((error) => !kindChoice?.value || error.kind === kindChoice.value);
  }

  const list = find(".errors");
  let listed = []; // the errors whose buttons stand in the list

  function updateErrors() {
    if (!list) return;
    const errors = listedErrors();
    const wanted = state.listAll ? errors : errors.slice(0, MOST_LISTED);
    if (wanted.length !== listed.length || wanted.some((error, i) => error !== listed[i])) {
      list.replaceChildren(...wanted.map(makeEntry));
      listed = wanted;
    }
    [...list.children].forEach((entry, i) => {
      const isMarked = listed[i] === state.error;
      if (isMarked) entry.firstElementChild.setAttribute("aria-current", "true");
      else entry.firstElementChild.removeAttribute("aria-current");
      // scrollIntoView would move the page, too
      if (isMarked && list.dataset.shown !== `${state.error.id}`) {
        list.scrollTop = entry.offsetTop - list.clientHeight / 2;
      }
    });
    list.dataset.shown = state.error ? state.error.id : "";
    find(".list-all").hidden = wanted.length === errors.length;
    setText(".error-count", `${errors.length} listed`);
    setText(".error-status", describe(state.error));
  }

  function describe(error) {
    if (!error) return "";
    const [row, column] = error.place;
    return `${error.kind} ${error.id}: section ${error.section}, row ${row}, column ${column}, `
      + `costs ${error.cost.toFixed(6)} ${data.words.unit}`.trimEnd();
  }

  function makeEntry(error) {
    const entry = find("#viewer-error").content.firstElementChild.cloneNode(true);
    const button = entry.firstElementChild;
    const [number, place, cost] = [".number", ".place", ".cost"].map((s) => button.querySelector(s));
    button.querySelector(".kind").textContent = error.kind;
    button.classList.add(error.kind);
    button.dataset.id = error.id;
    button.disabled = !data.sections.includes(error.section);
    number.textContent = error.id;
    place.textContent = `section ${error.section}${button.disabled ? ", not shown" : ""}`;
    cost.textContent = error.cost.toFixed(6);
    button.addEventListener("click", () => showError(error));
    return entry;
  }

  find(".list-all")?.addEventListener("click", () => {
    state.listAll = true;
    update();
  });

  // ---- the scale bar

  function updateScaleBar() {
    const nm = data.voxel_nm ? data.voxel_nm[2] : null;
    const wanted = panes[0].element.clientWidth / 4 / currentZoom() * (nm ?? 1);
    const power = 10 ** Math.floor(Math.log10(wanted));
    const length = [5, 2, 1].map((n) => n * power).find((n) => n <= wanted) ?? power;
    const text = nm === null ? `${length} px`
      : length >= 1000 ? `${length / 1000} µm` : `${length} nm`;
    for (const bar of root.querySelectorAll(".scale-bar")) {
      bar.firstElementChild.style.width = `${length / (nm ?? 1) * currentZoom()}px`;
      bar.lastElementChild.textContent = text;
    }
  }

  // ---- the address: a place that can be sent to others

  let pending = 0;

  function writeAddress() {
    clearTimeout(pending);
    pending = setTimeout(() => {
      const parts = [`section=${data.sections[state.section]}`];
      if (activePane().prediction) parts.push(`map=${activePane().prediction + 1}`);
      if (state.error) parts.push(`error=${state.error.id}`);
      if (state.zoom !== null) {
        parts.push(`view=${state.x.toFixed(1)},${state.y.toFixed(1)},${state.zoom.toFixed(3)}`);
      }
      history.replaceState(null, "", `#${parts.join("&")}`);
    }, 200);
  }

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const prediction = Number(given.get("map") ?? 1) - 1;
    if (prediction in data.predictions) activePane().prediction = prediction;
    const section = data.sections.indexOf(Number(given.get("section")));
    if (section >= 0) state.section = section;
    const number = Number(given.get("error"));
    const error = errorsOf(activePane().prediction).find((one) => one.id === number);
    const view = (given.get("view") ?? "").split(",").map(Number);
    if (view.length === 3 && view.every(Number.isFinite) && view[2] > 0) {
      [state.x, state.y] = view;
      state.zoom = clamp(view[2], fittingZoom(), MOST_ZOOM);
      state.error = error ?? null;
    } else if (error) {
      showError(error);
    }
    update();
    return section >= 0 || Boolean(error);
  }

  window.addEventListener("hashchange", readAddress);

  // ---- all together

  function update() {
    updatePanel(); // it shows or hides a pane, on which the zoom depends
    for (const pane of panes) pane.fill();
    updateErrors();
    updateView();
  }

  function updateView() {
    const { clientWidth, clientHeight } = panes[0].element;
    const zoom = currentZoom();
    const keepInside = (middle, length, view) => {
      const half = view / zoom / 2;
      return half * 2 >= length ? length / 2 : clamp(middle, half, length - half);
    };
    state.x = keepInside(state.x, WIDTH, clientWidth);
    state.y = keepInside(state.y, HEIGHT, clientHeight);
    for (const pane of panes) pane.place();
    updateScaleBar();
    setText(".zoom", `${Math.round(zoom * 100)} %`);
    writeAddress();
  }

  // Other parts of the page lead to sections and errors.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-section], [data-error]");
    if (!link) return;
    const { section, error, prediction } = link.dataset;
    if (error) {
      const own = errorsOf(Number(prediction ?? 0));
      showError(own.find((one) => one.id === Number(error)));
    } else {
      const index = data.sections.indexOf(Number(section));
      if (index < 0) return;
      showSection(index);
    }
    root.scrollIntoView({ block: "start" });
    activePane().element.focus({ preventScroll: true });
  });

  // Those that are not in the page lead nowhere.
  for (const link of document.querySelectorAll("[data-section] button, button[data-error]")) {
    const { error, prediction } = link.dataset;
    const fault = errorsOf(Number(prediction ?? 0)).find((one) => one.id === Number(error));
    const number = error ? fault.section : Number(link.closest("[data-section]").dataset.section);
    link.disabled = !data.sections.includes(number);
    if (link.disabled) link.title = `section ${number} is not shown`;
  }

  new ResizeObserver(updateView).observe(panes[0].element);
  if (!readAddress() && data.errors.length > 0) showError(data.errors[0]);
  root.classList.add("ready");
})();
