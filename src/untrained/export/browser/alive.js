// The page by itself, until somebody touches it: test images, each drawn pixel by pixel as a pen would.

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const [drawTime, frameTime, holdTime] = [1700, 65, 2600]; // milliseconds for an image, for a part of it at least, and after it
const mostToPlay = 500; // milliseconds for an answer
let examples = []; // test images: {label, image}
let playing = null; // the image that is being drawn, and the timer of what comes next
let next = 0;

// Pixels in the order of a pen: from the topmost always on to the nearest.
function penOrder(image, columns) {
  const rest = Array.from(image.keys()).filter((i) => image[i] > 0.05);
  const order = rest.splice(0, 1);
  while (rest.length) {
    const [x, y] = [order[order.length - 1] % columns, Math.floor(order[order.length - 1] / columns)];
    const far = rest.map((i) => ((i % columns) - x) ** 2 + (Math.floor(i / columns) - y) ** 2);
    order.push(...rest.splice(far.indexOf(Math.min(...far)), 1));
  }
  return order;
}

function later(milliseconds, act) {
  playing.timer = setTimeout(() => (document.hidden ? later(milliseconds, act) : act()), milliseconds);
}

function playNext() {
  playing = { ...examples[next] };
  next = (next + 1) % examples.length;
  at("given").textContent = `A test image: ${playing.label}`;
  const frames = calm.matches || kind !== "drawing" ? 1 : Math.floor(drawTime / Math.max(frameTime, 2 * lastTook));
  drawFrame(frames > 1 ? penOrder(playing.image, program.shape[2]) : [], 1, frames);
}

function drawFrame(order, frame, frames) {
  if (frame >= frames) {
    giveExact(playing.image);
    return later(holdTime, playNext);
  }
  const pixels = new Float32Array(playing.image.length);
  for (const i of order.slice(0, Math.ceil((order.length * frame) / frames))) pixels[i] = playing.image[i];
  giveExact(pixels, false);
  return later(drawTime / frames, () => drawFrame(order, frame + 1, frames));
}

function play() {
  tellPlaying(true);
  playNext();
}

// Stops, with the whole image on the board.
function stopPlaying() {
  if (!playing) return;
  clearTimeout(playing.timer);
  const { image } = playing;
  playing = null;
  giveExact(image);
  tellPlaying(false);
}

function tellPlaying(now) {
  at("play").textContent = now ? "Pause" : "Play";
  at("verdict").setAttribute("aria-live", now ? "off" : "polite"); // not every few seconds
}

function setUpPlaying() {
  at("play").hidden = false;
  at("play").addEventListener("click", () => (playing ? stopPlaying() : play()));
  const touched = ({ type, key, target }) => {
    if (target !== at("play") && !(type === "keydown" && key === "Tab")) stopPlaying();
  };
  for (const kindOfTouch of ["pointerdown", "keydown", "click", "drop"]) addEventListener(kindOfTouch, touched, true);
  at("file").addEventListener("change", stopPlaying);
}

// A test image is answered at once; others follow, unless that takes long or somebody wants no motion.
function begin() {
  if (!examples.length) return;
  next = Math.min(3, examples.length - 1);
  giveExample(examples[next]);
  setUpPlaying();
  if (lastTook > mostToPlay && lastTook < 4 * mostToPlay) answer(lastInput); // a browser's first try is slower
  if (calm.matches || lastTook > mostToPlay) return;
  tellPlaying(true);
  playing = { ...examples[next] };
  next = (next + 1) % examples.length;
  later(holdTime, playNext);
}

// ---------------------------------------------------------------- choices among the weights
const choiceButtons = [...document.querySelectorAll("[data-choice]")];

function setUpChoices() {
  for (const button of choiceButtons) {
    button.addEventListener("click", () => {
      used = chooser(button.dataset.choice);
      for (const each of choiceButtons) each.setAttribute("aria-pressed", String(each === button));
      answer(lastInput);
    });
  }
}

// How many of the test images each choice gets right.
async function countRight() {
  for (const button of choiceButtons) {
    let right = 0;
    for (const { label, image } of examples) {
      await new Promise((resolve) => setTimeout(resolve)); // the page stays quick
      const logits = runNetwork(program, chooser(button.dataset.choice), normalised(image)).pop();
      right += labels[logits.indexOf(Math.max(...logits))] === label;
    }
    button.querySelector("small").textContent = `${right} of ${examples.length} right`;
  }
}
