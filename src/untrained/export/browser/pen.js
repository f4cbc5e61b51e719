// A pen for a board: `began` before its first line, `drawn(done)` after each, while it moves only if `quick()`.
function setUpPen(board, began, drawn, quick) {
  const ink = board.getContext("2d", { willReadFrequently: true });
  let pen = null;
  let waiting = false;
  const spot = (event) => {
    const box = board.getBoundingClientRect();
    return [((event.clientX - box.left) * board.width) / box.width, ((event.clientY - box.top) * board.height) / box.height];
  };
  const line = (from, to) => {
    ink.strokeStyle = "#fff";
    [ink.lineWidth, ink.lineCap, ink.lineJoin] = [0.09 * board.width, "round", "round"];
    ink.beginPath();
    ink.moveTo(...from);
    ink.lineTo(...to);
    ink.stroke();
  };
  board.classList.add("drawable");
  board.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || pen) return;
    event.preventDefault();
    began();
    board.setPointerCapture(event.pointerId);
    pen = { id: event.pointerId, last: spot(event) };
    line(pen.last, pen.last);
  });
  board.addEventListener("pointermove", (event) => {
    if (pen?.id !== event.pointerId) return;
    for (const part of event.getCoalescedEvents?.() ?? [event]) {
      const next = spot(part);
      line(pen.last, next);
      pen.last = next;
    }
    if (waiting || !quick()) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (pen) drawn(false);
    });
  });
  for (const lifted of ["pointerup", "pointercancel"]) {
    board.addEventListener(lifted, (event) => {
      if (pen?.id !== event.pointerId) return;
      pen = null;
      drawn(true);
    });
  }
}
