// A pane of the browser of sections: pictures on top of each other, errors, and what the mouse does.
"use strict";

const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

// `viewer` has the data, the state and the actions; see viewer.js.
class Pane {
  constructor(element, viewer, shows) {
    this.element = element;
    this.viewer = viewer;
    this.stage = element.querySelector(".stage");
    this.markers = element.querySelector(".markers");
    this.caption = element.querySelector(".pane-caption");
    this.ring = element.querySelector(".ring");
    this.prediction = 0;
    this.slots = viewer.slots.map((slot) => ({ shown: shows(slot), opacity: slot.opacity }));
    this.images = viewer.slots.map(() => make("img", { draggable: false }));
    this.stage.append(...this.images);
    const [height, width] = viewer.data.shape;
    this.stage.style.width = `${width}px`;
    this.stage.style.height = `${height}px`;
    element.style.setProperty("--aspect", `${width} / ${height}`);
    this.pointers = new Map(); // where each finger or button that is down is
    this.listen();
  }

  // The layers of the prediction that this pane shows.
  shownLayers() {
    return this.viewer.slots.map((slot, i) => (this.slots[i].shown ? slot.of(this.prediction) : undefined));
  }

  // Show the pictures of the section, and the errors as buttons.
  fill() {
    const { data, state } = this.viewer;
    const layers = this.shownLayers();
    layers.forEach((layer, i) => {
      const image = this.images[i];
      image.hidden = !layer;
      if (!layer) return;
      const source = layer.pictures[state.section];
      if (image.getAttribute("src") !== source) image.src = source;
      image.alt = `section ${data.sections[state.section]}: ${layer.name}`;
      image.style.opacity = this.slots[i].opacity;
    });
    const names = layers.filter(Boolean).map((layer) => layer.name);
    const map = data.predictions.length > 1 ? `${data.predictions[this.prediction]}: ` : "";
    this.caption.textContent = map + (names.join(" + ") || "no layer");
    this.errors = names.includes("errors") ? this.viewer.errorsHere(this.prediction) : [];
    this.markers.replaceChildren(...this.errors.map((error) => this.makeMarker(error)));
  }

  makeMarker(error) {
    const marker = make("button", { type: "button", tabIndex: -1, textContent: error.id });
    marker.className = `marker ${error.kind}`;
    marker.setAttribute("aria-label", `${error.kind} ${error.id}`);
    marker.classList.toggle("selected", error === this.viewer.state.error);
    marker.addEventListener("click", () => this.viewer.showError(error));
    return marker;
  }

  // Put everything at its place on the screen.
  place() {
    const { state, data } = this.viewer;
    const { clientWidth: width, clientHeight: height } = this.element;
    const zoom = this.viewer.currentZoom();
    const left = width / 2 - state.x * zoom;
    const top = height / 2 - state.y * zoom;
    const move = (element, [row, column]) => {
      element.style.left = `${left + (column + 0.5) * zoom}px`;
      element.style.top = `${top + (row + 0.5) * zoom}px`;
    };
    this.stage.style.transform = `translate(${left}px, ${top}px) scale(${zoom})`;
    this.stage.classList.toggle("coarse", zoom >= 2 * data.shrink);
    this.element.classList.toggle("zoomed", state.zoom !== null);
    for (const [i, error] of this.errors.entries()) move(this.markers.children[i], error.place);
    this.ring.hidden = !this.errors.includes(state.error);
    if (!this.ring.hidden) {
      move(this.ring, state.error.place);
      this.ring.className = `ring ${state.error.kind}`;
    }
  }

  // ---- the mouse, fingers and pens

  listen() {
    const on = (name, handle, options) => this.element.addEventListener(name, handle, options);
    on("focus", () => this.viewer.activate(this));
    on("pointerdown", (event) => this.press(event));
    on("pointermove", (event) => this.drag(event));
    on("pointerup", (event) => this.pointers.delete(event.pointerId));
    on("pointercancel", (event) => this.pointers.delete(event.pointerId));
    on("wheel", (event) => this.turn(event), { passive: false });
  }

  press(event) {
    this.viewer.activate(this);
    if (event.target.closest("button") || event.button > 0) return;
    this.element.focus({ preventScroll: true });
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  drag(event) {
    if (!this.pointers.has(event.pointerId)) return;
    const [from, apart] = this.hold();
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    const [to, apartNow] = this.hold();
    if (this.viewer.state.zoom !== null) this.viewer.pan(to[0] - from[0], to[1] - from[1]);
    if (apart > 0) this.viewer.zoomBy(apartNow / apart, this.fromMiddle(to));
  }

  // Return the middle of one or two fingers, and how far they are apart.
  hold() {
    const points = [...this.pointers.values()];
    const [a, b = a] = points;
    return [[(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], Math.hypot(a[0] - b[0], a[1] - b[1])];
  }

  // The wheel zooms if the browser has the focus; else it scrolls the page.
  turn(event) {
    if (!event.ctrlKey && !this.viewer.hasFocus()) return;
    event.preventDefault();
    const factor = Math.exp(-Math.min(Math.max(event.deltaY, -100), 100) / 300);
    this.viewer.zoomBy(factor, this.fromMiddle([event.clientX, event.clientY]));
  }

  fromMiddle([x, y]) {
    const box = this.element.getBoundingClientRect();
    return [x - box.left - box.width / 2, y - box.top - box.height / 2];
  }
}
