// The film: what it shows at each place of the slider of its section.

const { accuracy, answer: answers, tiles, masks, image } = JSON.parse(at("live-facts").textContent);
const film = at("live");
film.className = "film";
const counter = element("p", { className: "counter" });
const classified = element("p", { className: "under", textContent: "of the validation data are classified rightly" });
if (accuracy.some((share) => share !== null)) film.append(element("div", {}, counter, classified));

if (answers) {
  const of = answers.labels.length < answers.of ? `, ${answers.labels.length} of ${answers.of} classes` : "";
  const what = answers.true === null ? "A test image" : `A test image: ${answers.true}`;
  const picture = image ? [element("img", { src: image, alt: what })] : [];
  const bars = element("ol", { id: "bars" });
  film.append(element("div", { className: "asked" }, ...picture, element("div", {}, element("p", { className: "under", textContent: what + of }), bars)));
}

const canvas = element("canvas", { className: "tiles" });
if (tiles) {
  canvas.setAttribute("role", "img");
  const shown = tiles.count < tiles.units ? `${tiles.count} of the ${thousands(tiles.units)} first units` : "The first units";
  const text = `${shown}: kept weights above 0 are blue, below 0 orange`;
  canvas.setAttribute("aria-label", text);
  film.append(element("div", {}, canvas, element("p", { className: "under", textContent: text })));
}
const weights = tiles && new Int8Array(bytesOf(tiles.weights).buffer);

// The tiles in rows, with a pixel between them.
function drawTiles(mask) {
  const bits = bytesOf(mask);
  const { count, height, width } = tiles;
  const across = Math.min(count, 8);
  [canvas.width, canvas.height] = [across * (width + 1) - 1, Math.ceil(count / across) * (height + 1) - 1];
  const ink = canvas.getContext("2d");
  const [plus, minus, none] = ["--blue", "--orange", "--panel"].map((name) => getComputedStyle(film).getPropertyValue(name));
  for (let i = 0; i < weights.length; i++) {
    const [tile, place] = [Math.floor(i / (height * width)), i % (height * width)];
    const [x, y] = [(tile % across) * (width + 1) + (place % width), Math.floor(tile / across) * (height + 1) + Math.floor(place / width)];
    const kept = (bits[i >> 3] >> i % 8) & 1 && weights[i] !== 0;
    ink.fillStyle = !kept ? none : weights[i] > 0 ? plus : minus;
    ink.globalAlpha = kept ? Math.max(0.25, Math.abs(weights[i]) / 127) : 1;
    ink.fillRect(x, y, 1, 1);
  }
}

let now = 0;
const known = (list, epoch) => list.slice(0, epoch + 1).findLast((each) => each !== null);
function showEpoch(epoch) {
  now = epoch;
  const share = known(accuracy, epoch);
  counter.textContent = share === undefined ? "–" : `${(100 * share).toFixed(1)} %`;
  const shares = answers && known(answers.shares, epoch);
  if (shares) showBars(answers.labels, shares, shares.indexOf(Math.max(...shares)), [...shares.keys()]);
  const mask = tiles && known(masks, epoch);
  if (mask) drawTiles(mask);
}

const section = film.closest("section");
section.addEventListener("step", ({ detail }) => showEpoch(detail));
showEpoch(Number(section.querySelector(".steps input").value));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showEpoch(now));
// It plays once by itself, from the first scores on.
if (!matchMedia("(prefers-reduced-motion: reduce)").matches) section.querySelector(".steps button").click();
