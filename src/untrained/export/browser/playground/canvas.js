// Canvases as fine as the screen, in the colours of the page.

// The colours of the page, as they are now: light or dark.
const colours = {};
function readColours(place) {
  const style = getComputedStyle(place);
  for (const name of ["ink", "quiet", "line", "for", "against", "card", "dot", "track"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

// How large canvases are shown, in pixels of the page: to ask while a page changes lays it all out again.
const shownSizes = new Map();
const sizeWatch = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) shownSizes.set(target, contentRect);
});

function shownSize(canvas) {
  if (!shownSizes.has(canvas)) {
    shownSizes.set(canvas, { width: canvas.clientWidth, height: canvas.clientHeight });
    sizeWatch.observe(canvas);
  }
  return shownSizes.get(canvas);
}

// Draws when a canvas gets another size, and when the page gets other colours.
function watchLooks(canvas, draw) {
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

// A clean canvas as fine as the screen: its context, and its size in pixels of the page.
function begin(canvas) {
  const [{ width, height }, fine] = [shownSize(canvas), devicePixelRatio];
  if (canvas.width !== Math.round(width * fine) || canvas.height !== Math.round(height * fine)) {
    [canvas.width, canvas.height] = [Math.round(width * fine), Math.round(height * fine)];
  }
  const on = canvas.getContext("2d");
  on.setTransform(fine, 0, 0, fine, 0, 0);
  on.clearRect(0, 0, width, height);
  on.font = "12px system-ui, sans-serif";
  return { on, width, height };
}

function path(on, colour, thick, points) {
  on.strokeStyle = colour;
  [on.lineWidth, on.lineJoin, on.lineCap] = [thick, "round", "round"];
  on.beginPath();
  points.forEach(([x, y]) => on.lineTo(x, y));
  on.stroke();
}
