// The board for drawings. Its page has `inputShape`, perhaps a `fit` (see picture.js), `answer` and `forget`.

const [board, seen] = [at("board"), at("seen")];
const ink = board?.getContext("2d", { willReadFrequently: true });
let untouched = true; // the board holds no stroke of a pen

function clearBoard() {
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, board.width, board.height);
  show(seen, new Float32Array(product(inputShape)), inputShape);
  untouched = true;
  forget();
}

function clearIfUntouched() {
  if (untouched) clearBoard();
  untouched = false;
}

function give(pixels, done = true) {
  show(seen, pixels, inputShape);
  answer(pixels, done);
}

function giveBoard(done) {
  const [, rows, columns] = inputShape;
  const pixels = fitted(planesOf(board, 1)[0], board.width, columns, rows, fit);
  if (pixels) give(pixels, done);
}

// Pixels that are right already, enlarged on the board.
function giveExact(pixels, done = true) {
  show(seen, pixels, inputShape);
  [ink.imageSmoothingEnabled, untouched] = [false, true];
  ink.drawImage(seen, 0, 0, board.width, board.height);
  answer(pixels, done);
}
